//! The data plane: stateless proxies that authenticate, authorise, budget, route, meter and record every request.

pub mod budget;
pub mod link;
pub mod records;
pub mod settings;
pub mod tasks;
