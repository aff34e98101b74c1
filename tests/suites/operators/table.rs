//! The figures as a table for readers.

use crate::counts::Counts;

/// The figures of one kind of deployment.
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 5]>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        let head = ["situation", "commands", "per replica", "bytes in / out", ""].map(str::to_owned);
        Self { title: title.into(), rows: vec![head] }
    }

    /// Adds the counters of what the server did for these replicas.
    pub(crate) fn add(&mut self, situation: &str, replicas: usize, counts: &Counts, note: impl Into<String>) {
        let (sent, replicas) = (counts.sent(), replicas.max(1) as u64);
        self.rows.push([
            situation.to_owned(),
            sent.to_string(),
            format!("{}.{:02}", sent / replicas, sent * 100 / replicas % 100),
            format!("{} / {}", counts.bytes_in, counts.bytes_out),
            note.into(),
        ]);
    }

    /// Adds another measurement.
    pub(crate) fn say(&mut self, situation: &str, figure: impl Into<String>) {
        self.rows.push([situation.into(), String::new(), String::new(), String::new(), figure.into()]);
    }

    pub(crate) fn print(&self) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let widths = [0, 1, 2, 3].map(width);
        println!("\n{}", self.title);
        for row in &self.rows {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            println!("  {}  {}", cells.collect::<Vec<_>>().join("  "), row[4]);
        }
    }
}
