//! Rows as CSV (RFC 4180) and as JSON Lines.
//!
//! Rule: equal rows are equal bytes. A text that a spreadsheet would run as a formula is shown as the text it is: model
//! names come from callers.

use std::io::{self, Write};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell<'t> {
    /// There is none.
    Null,
    /// A text that is ours: a time, an amount, a word of a standard.
    Plain(String),
    /// A text that somebody chose.
    Text(&'t str),
    /// A count.
    Count(u64),
    /// An integer of 1e-9 USD, in JSON only.
    Nano(i64),
}

/// Writes a line of CSV.
pub(super) fn csv_line<'t>(out: &mut dyn Write, cells: impl IntoIterator<Item = Cell<'t>>) -> io::Result<()> {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        match cell {
            Cell::Null => {}
            Cell::Plain(text) => csv_text(out, &text)?,
            Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                csv_text(out, &format!("'{text}"))?
            }
            Cell::Text(text) => csv_text(out, text)?,
            Cell::Count(count) => write!(out, "{count}")?,
            Cell::Nano(nano) => write!(out, "{nano}")?,
        }
    }
    out.write_all(b"\r\n")
}

fn csv_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    if !text.contains(['"', ',', '\r', '\n']) && text.trim() == text {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}

/// Writes a line of JSON, names in the order given.
pub(super) fn json_line<'t>(
    out: &mut dyn Write,
    cells: impl IntoIterator<Item = (&'static str, Cell<'t>)>,
) -> io::Result<()> {
    for (at, (name, cell)) in cells.into_iter().enumerate() {
        write!(out, "{}\"{name}\":", if at == 0 { '{' } else { ',' })?;
        match cell {
            Cell::Null => out.write_all(b"null")?,
            Cell::Plain(text) => serde_json::to_writer(&mut *out, &text)?,
            Cell::Text(text) => serde_json::to_writer(&mut *out, text)?,
            Cell::Count(count) => write!(out, "{count}")?,
            Cell::Nano(nano) => write!(out, "{nano}")?,
        }
    }
    out.write_all(b"}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cells: Vec<Cell<'_>>) -> String {
        let mut out = Vec::new();
        csv_line(&mut out, cells).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_what_must_be_and_runs_no_formula() {
        let cells = vec![Cell::Text("a,b"), Cell::Text("say \"x\""), Cell::Text("two\nlines"), Cell::Null];
        assert_eq!(csv(cells), "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\r\n");
        assert_eq!(csv(vec![Cell::Text("=HYPERLINK(1)"), Cell::Text("@x")]), "'=HYPERLINK(1),'@x\r\n");
        // an amount below zero is one
        assert_eq!(csv(vec![Cell::Plain("-0.000000030".to_owned()), Cell::Count(7)]), "-0.000000030,7\r\n");
    }

    #[test]
    fn json_keeps_order_and_escapes() {
        let mut out = Vec::new();
        let cells = [("b", Cell::Text("q\"\u{1}")), ("a", Cell::Null), ("n", Cell::Nano(-3))];
        json_line(&mut out, cells).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"b\":\"q\\\"\\u0001\",\"a\":null,\"n\":-3}\n");
    }
}
