//! Proofs that the provider speaks, breaks and bills as its scripts say, over real sockets with a bare hyper client.
//!
//! Rule: no sleeps; a test waits for counters of the bill or for gates.

mod billing;
mod breaking;
#[cfg(test)]
mod client;
mod control;
#[cfg(test)]
mod gemini;
mod speaking;
