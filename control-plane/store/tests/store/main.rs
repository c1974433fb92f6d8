//! The whole behaviour of the store, on SQLite always, on PostgreSQL and MySQL or MariaDB when
//! `HELIX_TEST_POSTGRES_URL` and `HELIX_TEST_MYSQL_URL` name a server on which databases may be made and dropped.

#[cfg(test)]
mod broken_books;
#[cfg(test)]
mod budget_entries;
#[cfg(test)]
mod closing;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod corrections;
#[cfg(test)]
mod cost_centers;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod escrow;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod report;
#[cfg(test)]
mod revisions;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod support;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod usage_edges;
#[cfg(test)]
mod verify;
