//! The order of a stream's calls: one after the other, where a provider mixes them.
//!
//! Rule: whoever reads behind this sees a call start, get its arguments and end before anything else happens. A call is
//! over when the provider says so, or when its arguments are a whole JSON object and something else begins; until then
//! the rest waits, in bounded memory.

use super::event::Event;

/// The most bytes that may wait.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// The most calls of one answer.
const MAX_CALLS: usize = 1024;

/// Too much would have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Puts events in order.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    open: Option<Open>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    started: usize,
}

#[derive(Debug)]
struct Open {
    call: usize,
    balance: Balance,
}

#[derive(Debug)]
enum Waiting {
    Call { call: usize, id: Option<String>, name: String, arguments: String, is_ended: bool },
    Event(Event),
}

/// Follows a JSON text up to the end of its object.
#[derive(Debug, Default)]
struct Balance {
    depth: u32,
    is_in_string: bool,
    is_escaped: bool,
    is_whole: bool,
}

impl Balance {
    fn follow(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

impl Sequence {
    /// Takes an event and gives what may happen now to `out`.
    pub(crate) fn accept(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Overflow> {
        if matches!(event, Event::CallStart { .. }) {
            self.started += 1;
            if self.started > MAX_CALLS {
                return Err(Overflow);
            }
        }
        self.take(event, out)
    }

    fn take(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Overflow> {
        let Some(open) = &mut self.open else {
            return self.take_idle(event, out);
        };
        match event {
            Event::Ping => out.push(event),
            Event::Arguments { call, ref piece } if call == open.call => {
                open.balance.follow(piece);
                let is_over = open.balance.is_whole && !self.waiting.is_empty();
                out.push(event);
                if is_over {
                    return self.close(out);
                }
            }
            Event::CallEnd { call } if call == open.call => return self.close(out),
            // Nothing comes after these that could still belong to the call.
            Event::Stop(_) | Event::Failed(_) | Event::End => {
                self.drain(out)?;
                out.push(event);
            }
            Event::BlockEnd | Event::Start => {}
            _ if open.balance.is_whole && self.waiting.is_empty() => {
                self.close(out)?;
                return self.take(event, out);
            }
            _ => return self.wait(event),
        }
        Ok(())
    }

    fn take_idle(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Overflow> {
        match event {
            Event::CallStart { call, .. } => {
                self.open = Some(Open { call, balance: Balance::default() });
                out.push(event);
            }
            // Of a call that is over: nothing can be added to it.
            Event::Arguments { .. } | Event::CallEnd { .. } => {}
            _ => out.push(event),
        }
        Ok(())
    }

    /// Ends the open call, and lets happen what waited for that.
    fn close(&mut self, out: &mut Vec<Event>) -> Result<(), Overflow> {
        if let Some(open) = self.open.take() {
            out.push(Event::CallEnd { call: open.call });
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        for item in waiting {
            match item {
                Waiting::Event(event) => self.take(event, out)?,
                Waiting::Call { call, id, name, arguments, is_ended } => {
                    self.take(Event::CallStart { call, id, name }, out)?;
                    if !arguments.is_empty() {
                        self.take(Event::Arguments { call, piece: arguments }, out)?;
                    }
                    if is_ended {
                        self.take(Event::CallEnd { call }, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends every call.
    fn drain(&mut self, out: &mut Vec<Event>) -> Result<(), Overflow> {
        // Each round ends one call at least, and there are no more than were counted.
        while self.open.is_some() {
            self.close(out)?;
        }
        Ok(())
    }

    fn wait(&mut self, event: Event) -> Result<(), Overflow> {
        let bytes = match &event {
            Event::Text(text) | Event::Refusal(text) | Event::Thinking(text) => text.len(),
            Event::Signature(text) | Event::Redacted(text) | Event::Arguments { piece: text, .. } => text.len(),
            Event::CallStart { name, .. } => name.len(),
            Event::Cited { citation, .. } => citation.size_bytes(),
            _ => 0,
        };
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes).saturating_add(size_of::<Waiting>());
        if self.waiting_bytes > MAX_WAITING_BYTES {
            return Err(Overflow);
        }
        let find = |waiting: &mut Vec<Waiting>, wanted: usize| {
            waiting.iter().position(|item| matches!(item, Waiting::Call { call, .. } if *call == wanted))
        };
        match event {
            Event::CallStart { call, id, name } => {
                self.waiting.push(Waiting::Call { call, id, name, arguments: String::new(), is_ended: false });
            }
            Event::Arguments { call, piece } => {
                let at = find(&mut self.waiting, call);
                if let Some(Waiting::Call { arguments, .. }) = at.and_then(|at| self.waiting.get_mut(at)) {
                    arguments.push_str(&piece);
                }
            }
            Event::CallEnd { call } => {
                let at = find(&mut self.waiting, call);
                if let Some(Waiting::Call { is_ended, .. }) = at.and_then(|at| self.waiting.get_mut(at)) {
                    *is_ended = true;
                }
            }
            event => match (self.waiting.last_mut(), event) {
                (Some(Waiting::Event(Event::Text(last))), Event::Text(text)) => last.push_str(&text),
                (_, event) => self.waiting.push(Waiting::Event(event)),
            },
        }
        Ok(())
    }
}
