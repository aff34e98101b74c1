use std::env;

/// The job that the command line of a bench program asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Run a suite.
    Suite {
        /// Which one.
        name: String,
        /// Whether the suite must end in about 10 seconds: it then runs fewer rounds, and omits cases that
        /// cannot be shortened.
        quick: bool,
    },
    /// Repeat one case, so that another program can count instructions.
    Count {
        /// Which one.
        case: String,
        /// The number of repetitions.
        times: usize,
    },
}

impl Job {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// The command line asks for no job.
    pub fn read() -> Result<Self, String> {
        Self::of(&env::args().skip(1).collect::<Vec<_>>())
    }

    fn of(words: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["count", case, times] => {
                let times = times.parse().map_err(|_| format!("`{times}` is no number"))?;
                Ok(Self::Count { case: (*case).to_owned(), times })
            }
            [name] => Ok(Self::Suite { name: (*name).to_owned(), quick: false }),
            [name, "--quick"] => Ok(Self::Suite { name: (*name).to_owned(), quick: true }),
            _ => Err("usage: SUITE [--quick], or: count CASE N".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &str) -> Result<Job, String> {
        Job::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn suites_and_cases_are_told_apart() {
        assert_eq!(job("hit"), Ok(Job::Suite { name: "hit".into(), quick: false }));
        assert_eq!(job("hit --quick"), Ok(Job::Suite { name: "hit".into(), quick: true }));
        assert_eq!(job("count ours 10"), Ok(Job::Count { case: "ours".into(), times: 10 }));
    }

    #[test]
    fn anything_else_is_an_error() {
        for line in ["", "hit --fast", "count ours", "count ours many"] {
            let result = job(line);
            assert!(result.is_err() || line.is_empty(), "{line}: {result:?}");
        }
        assert!(Job::of(&[]).is_err());
    }
}
