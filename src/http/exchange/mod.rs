//! What every dialect asks of the exchange, in the words of the domain: commands and queries, without wire types.
//!
//! `v1` and `gitbitex` convert to and from these, so that an order, a fill or a page of either is looked up in one way.

pub mod client_ids;
pub mod market_data;
pub mod newcomers;
pub mod orders;
pub mod passwords;
pub mod profiles;
pub mod transfers;
