//! How many connections to the feed, in whichever dialect, one client holds at once. What a connection costs is small but
//! not nothing, and the limit on how fast they are opened does not bound how many stay.

use crate::auth::{Accounts, network_of};
use crate::http::error::ApiError;
use actix_web::http::StatusCode;
use ipnet::IpNet;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The connections of each network, on all workers of this node.
#[derive(Clone, Debug)]
pub struct Seats {
    /// The most of one network; 0 sets no limit.
    most: usize,
    taken: Arc<Mutex<FxHashMap<IpNet, usize>>>,
}

/// One connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    network: IpNet,
    seats: Seats,
}

impl Seats {
    /// Nobody is connected; at most so many may be from one network, 0 meaning no limit.
    pub fn new(most: usize) -> Seats {
        Seats { most, taken: Arc::default() }
    }

    /// A place for a client at this address. Clients that no limit counts, and those of whom nobody knows where they are,
    /// need none.
    ///
    /// # Errors
    /// 429 when the client's network has all that it may have.
    pub fn admit(&self, accounts: &Accounts, address: Option<IpAddr>) -> Result<Option<Seat>, ApiError> {
        let Some(address) = address.filter(|address| !accounts.is_unlimited(*address)) else { return Ok(None) };
        let full = || {
            let message = "there are too many connections from your address";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", message)
        };
        self.take(address).map(Some).ok_or_else(full)
    }

    /// A place for a client at this address; none when its network has all that it may have.
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let network = network_of(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(network).or_default();
        if self.most != 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { network, seats: self.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_seats_and_gets_them_back() {
        let seats = Seats::new(2);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = seats.take(one).unwrap();
        let second = seats.take(one).unwrap();
        assert!(seats.take(one).is_none());
        assert!(seats.take(other).is_some());
        drop(first);
        assert!(seats.take(one).is_some());
        drop(second);
        assert!(seats.taken.lock().is_empty());
        let unbounded = Seats::new(0);
        let all: Vec<_> = (0..100).filter_map(|_| unbounded.take(one)).collect();
        assert_eq!(all.len(), 100);
    }
}
