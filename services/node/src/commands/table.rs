//! Columns on a terminal.

use std::fmt::Write;

use time::OffsetDateTime;
use time::macros::format_description;

/// Rows under a head; each cell is escaped, because names and reasons may come from elsewhere
/// and must not write control characters into the operator's terminal.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        Self { rows: vec![head] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        let cells = cells.iter().map(|cell| cell.escape_debug().to_string());
        self.rows.push(cells.collect());
    }

    /// The lines, each column as wide as its widest cell.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _infallible = write!(line, "{cell:<width$}  ");
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A time to the second, in UTC; `-` for none.
pub(super) fn at(time: Option<OffsetDateTime>) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.and_then(|time| time.to_offset(time::UtcOffset::UTC).format(format).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// A number that was counted up to a bound.
pub(super) fn counted(number: i64, bound: i64) -> String {
    if number < bound {
        number.to_string()
    } else {
        format!("{bound}+")
    }
}

/// A text, or `-` when there is none.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_shown_not_obeyed() {
        let mut table = Table::new(&["HOST", "STATE"]);
        table.row(vec!["a.example".to_owned(), "ok".to_owned()]);
        table.row(vec!["b\u{1b}[2J".to_owned(), "failing".to_owned()]);
        assert_eq!(
            table.render(),
            "HOST        STATE\na.example   ok\nb\\u{1b}[2J  failing\n"
        );
    }

    #[test]
    fn a_number_at_its_bound_says_so() {
        assert_eq!(counted(9, 10), "9");
        assert_eq!(counted(10, 10), "10+");
    }
}
