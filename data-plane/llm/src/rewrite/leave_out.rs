//! A body without what its model refuses.
//!
//! Rule: this is for the few requests that ask for it; what stays of a body stays byte for byte, but for the blanks between
//! fields.

use bytes::Bytes;

use crate::json::Reader;
use crate::request::ScanError;

/// Sampling parameters of all dialects.
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// What shall not go upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaveOut {
    /// Sampling parameters.
    pub sampling: bool,
    /// A choice of tools that forces a call.
    pub forced_tools: bool,
    /// The client's name of its user.
    pub user: bool,
}

impl LeaveOut {
    /// Whether everything may go.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Leaves out what is refused, and returns the names of what was there. A choice of tools that forces a call becomes one
/// that does not.
///
/// # Errors
/// [`ScanError`] for a body that is no JSON object.
pub fn leave_out(body: &[u8], refused: LeaveOut) -> Result<(Bytes, Vec<String>), ScanError> {
    render(body, refused).map_err(|fault| ScanError::from_fault(&fault, body))
}

fn render(body: &[u8], refused: LeaveOut) -> crate::json::Result<(Bytes, Vec<String>)> {
    let mut reader = Reader::new(body);
    let mut members = reader.enter_object()?;
    let (mut out, mut dropped) = (vec![b'{'], Vec::new());
    while let Some(name) = reader.next_field(&mut members)? {
        let value = body.get(reader.skip()?).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let is_out = (refused.sampling && SAMPLING.contains(&&*name)) || (refused.user && name == "user");
        let is_choice = refused.forced_tools && name == "tool_choice";
        if is_out || is_choice {
            dropped.push(name.clone());
        }
        if is_out {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&serde_json::to_vec(&name).unwrap_or_default());
        out.push(b':');
        out.extend_from_slice(if is_choice { auto(value) } else { value });
    }
    out.push(b'}');
    Ok((Bytes::from(out), dropped))
}

/// The choice that leaves it to the model, with what was said of parallel calls.
fn auto(choice: &[u8]) -> &'static [u8] {
    let mut is_single = false;
    let mut reader = Reader::new(choice);
    let read = reader.each_field(|name, reader| {
        let value = choice.get(reader.skip()?).unwrap_or_default();
        is_single |= name == b"disable_parallel_tool_use" && value == b"true";
        Ok(())
    });
    match read {
        Ok(()) if is_single => b"{\"type\":\"auto\",\"disable_parallel_tool_use\":true}",
        _ => b"{\"type\":\"auto\"}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_left_out_and_named_and_the_rest_stays() {
        let sampling = LeaveOut { sampling: true, ..LeaveOut::default() };
        let all = LeaveOut { sampling: true, forced_tools: true, user: true };
        for (body, refused, expected, dropped) in [
            (r#"{"user": "a", "a": 1.50, "temperature": 0.2}"#, sampling, r#"{"user":"a","a":1.50}"#, "temperature"),
            (r#"{"top_p":1,"temperature":0,"b":"\u00e9"}"#, sampling, r#"{"b":"\u00e9"}"#, "top_p,temperature"),
            (r#"{"tool_choice":{"type":"any"}}"#, sampling, r#"{"tool_choice":{"type":"any"}}"#, ""),
            (
                r#"{"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},"top_k":3,"user":"a"}"#,
                all,
                r#"{"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}"#,
                "tool_choice,top_k,user",
            ),
        ] {
            let (left, names) = leave_out(body.as_bytes(), refused).unwrap();
            assert_eq!((std::str::from_utf8(&left).unwrap(), names.join(",").as_str()), (expected, dropped));
        }
        assert!(leave_out(b"[]", all).is_err());
    }
}
