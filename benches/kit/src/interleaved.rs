use std::fmt;
use std::time::Duration;

/// A piece of work that is timed in turn with others.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut(usize) -> Duration + 'a>,
    batch: usize,
    nanos: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// `run` repeats the work the given number of times, and returns the time that this took. It measures
    /// with [`CpuTime`](crate::CpuTime), unless the work waits for other threads or processes.
    pub fn new(name: impl Into<String>, run: impl FnMut(usize) -> Duration + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), batch: 1, nanos: Vec::new() }
    }

    /// The name in the report.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nanoseconds of one repetition, for each round.
    pub fn nanos(&self) -> &[f64] {
        &self.nanos
    }

    /// Doubles the batch until it takes long enough for a measurement.
    fn calibrate(&mut self) {
        while (self.run)(self.batch) < BATCH && self.batch < MOST {
            self.batch *= 2;
        }
    }

    fn round(&mut self) {
        let time = (self.run)(self.batch);
        #[allow(clippy::cast_precision_loss)]
        self.nanos.push(time.as_nanos() as f64 / self.batch as f64);
    }
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Long enough that reading the clock does not matter, short enough that most batches are not disturbed.
const BATCH: Duration = Duration::from_millis(2);
const MOST: usize = 1 << 24;

/// Times all contenders in turn, for this many rounds.
pub fn interleave(contenders: &mut [Contender<'_>], rounds: usize) {
    for contender in &mut *contenders {
        contender.calibrate();
    }
    for round in 0..rounds {
        for place in turns(round, contenders.len()) {
            contenders[place].round();
        }
    }
}

/// The order of the contenders in a round. Each round begins with another contender, so that none always
/// comes first.
pub fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn contenders_take_turns_and_each_begins_a_round() {
        let turns = RefCell::new(Vec::new());
        let contender = |name: &'static str| {
            let turns = &turns;
            Contender::new(name, move |_| {
                turns.borrow_mut().push(name);
                BATCH
            })
        };
        let mut contenders = [contender("a"), contender("b")];
        interleave(&mut contenders, 3);
        assert!(contenders.iter().all(|contender| contender.nanos().len() == 3));
        // The first two turns are the calibration.
        assert_eq!(turns.borrow().as_slice(), ["a", "b", "a", "b", "b", "a", "a", "b"]);
    }

    #[test]
    fn a_batch_grows_until_it_can_be_timed() {
        let mut contender = Contender::new("c", |n| Duration::from_micros(n.try_into().unwrap()));
        interleave(std::slice::from_mut(&mut contender), 1);
        assert_eq!(contender.batch, 2048);
        assert!((contender.nanos()[0] - 1000.0).abs() < 1e-9);
    }
}
