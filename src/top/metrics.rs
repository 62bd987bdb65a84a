//! The figures of `/metrics` that are shown, and what they say of the time between two looks.

use std::time::Duration;

/// One look at `/metrics`. Counters count since the server's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Orders whose outcome is durable.
    pub orders: u64,
    /// Entries committed.
    pub entries: u64,
    /// Proposals committed.
    pub flushes: u64,
    /// From proposal to commit, summed.
    pub flush_nanos: u64,
    /// Proposals that the log refused.
    pub refused: u64,
    /// HTTP requests answered, over all routes.
    pub requests: u64,
    /// The newest committed batch.
    pub position: u64,
    /// The last batch whose rows are in the database.
    pub projected: u64,
    /// Whether the node admits commands.
    pub active: bool,
    /// Batches that other nodes have read and this one has not.
    pub node_lag: u64,
    /// Actors, and those of them that take messages.
    pub actors: u64,
    pub running: u64,
    /// Restarts of all actors.
    pub restarts: u64,
    /// Messages that wait for an actor, over all actors.
    pub waiting: u64,
    /// The mailbox in which the most wait, and how many; none when all are empty.
    pub fullest: Option<(String, u64)>,
}

impl Figures {
    /// Reads Prometheus' text format; `None` when it is not an Agora server's.
    pub fn read(text: &str) -> Option<Figures> {
        let mut figures = Figures::default();
        let mut is_agora = false;
        for (name, labels, value) in text.lines().filter_map(series) {
            is_agora |= name == "agora_log_position";
            figures.take(name, labels, value);
        }
        is_agora.then_some(figures)
    }

    fn take(&mut self, name: &str, labels: &str, value: u64) {
        match name {
            "agora_order_acknowledged_seconds_count" => self.orders = value,
            "agora_log_entries_total" => self.entries = value,
            "agora_log_flushes_total" => self.flushes = value,
            "agora_log_flush_nanoseconds_total" => self.flush_nanos = value,
            "agora_log_refused_total" => self.refused = value,
            "agora_http_request_seconds_count" => self.requests += value,
            "agora_log_position" => self.position = value,
            "agora_projected_position" => self.projected = value,
            "agora_node_active" => self.active = value == 1,
            "agora_node_lag" => self.node_lag = value,
            "agora_actor_running" => {
                self.actors += 1;
                self.running += value;
            }
            "agora_actor_restarts" => self.restarts += value,
            "agora_mailbox_depth" => {
                self.waiting += value;
                if value > self.fullest.as_ref().map_or(0, |(_, most)| *most) {
                    self.fullest = Some((last_name(labels), value));
                }
            }
            _ => {}
        }
    }

    /// Committed batches whose rows are not in the database yet.
    pub fn projection_lag(&self) -> u64 {
        self.position.saturating_sub(self.projected)
    }
}

/// A line's name, labels and value; `None` for comments and whatever is no number. All that is shown are whole numbers
/// that are not negative.
fn series(line: &str) -> Option<(&str, &str, u64)> {
    if line.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match line.split_once('{') {
        // A label may hold braces: routes do.
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some((name, labels, value as u64))
}

/// The last part of the path of the actor that the labels name.
fn last_name(labels: &str) -> String {
    let path = labels.trim_start_matches("actor=\"").trim_end_matches('"');
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// What happened between two looks, for each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Orders whose outcome became durable.
    pub orders: f64,
    /// Entries committed.
    pub entries: f64,
    /// Proposals committed.
    pub flushes: f64,
    /// Proposals that the log refused.
    pub refused: f64,
    /// HTTP requests, those of this program among them.
    pub requests: f64,
    /// From proposal to commit, the mean; `None` when nothing was committed.
    pub flush: Option<Duration>,
}

impl Rates {
    /// From two looks that are so far apart; `None` when the counters went back, as they do when the server was started
    /// again.
    pub fn between(earlier: &Figures, later: &Figures, apart: Duration) -> Option<Rates> {
        let rate = |count: fn(&Figures) -> u64| per_second(count(earlier), count(later), apart);
        let flushes = later.flushes.checked_sub(earlier.flushes)?;
        let nanos = later.flush_nanos.checked_sub(earlier.flush_nanos)?;
        Some(Rates {
            orders: rate(|figures| figures.orders)?,
            entries: rate(|figures| figures.entries)?,
            flushes: rate(|figures| figures.flushes)?,
            refused: rate(|figures| figures.refused)?,
            requests: rate(|figures| figures.requests)?,
            flush: nanos.checked_div(flushes).map(Duration::from_nanos),
        })
    }
}

/// How fast a counter grew; `None` when it went back or no time has passed.
pub fn per_second(earlier: u64, later: u64, apart: Duration) -> Option<f64> {
    let grown = later.checked_sub(earlier)?;
    (!apart.is_zero()).then(|| grown as f64 / apart.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP agora_log_position the newest committed batch
# TYPE agora_log_position gauge
agora_log_position 1205
agora_projected_position 1200
agora_log_entries_total 3000
agora_log_flushes_total 1000
agora_log_flush_nanoseconds_total 2000000000
agora_log_refused_total 1
agora_node_active 1
agora_http_request_seconds_bucket{method="GET",route="/products/{id}",status="200",le="0.1"} 99
agora_http_request_seconds_sum{method="GET",route="/products/{id}",status="200"} 0.25
agora_http_request_seconds_count{method="GET",route="/products/{id}",status="200"} 7
agora_http_request_seconds_count{method="POST",route="/orders",status="200"} 5
agora_actor_running{actor="agora"} 1
agora_actor_running{actor="agora/trading/venue/order book BTC-USDT"} 0
agora_actor_restarts{actor="agora"} 0
agora_actor_restarts{actor="agora/trading/venue/order book BTC-USDT"} 2
agora_mailbox_depth{actor="agora"} 1
agora_mailbox_depth{actor="agora/trading/venue/order book BTC-USDT"} 4
agora_order_acknowledged_seconds_bucket{le="+Inf"} 40
agora_order_acknowledged_seconds_sum 0.120000000
agora_order_acknowledged_seconds_count 40
agora_nonsense NaN
"#;

    #[test]
    fn what_is_shown_is_found_and_summed() {
        let read = Figures::read(TEXT).unwrap();
        let expected = Figures {
            orders: 40,
            entries: 3_000,
            flushes: 1_000,
            flush_nanos: 2_000_000_000,
            refused: 1,
            requests: 12,
            position: 1_205,
            projected: 1_200,
            active: true,
            node_lag: 0,
            actors: 2,
            running: 1,
            restarts: 2,
            waiting: 5,
            fullest: Some(("order book BTC-USDT".into(), 4)),
        };
        assert_eq!(read, expected);
        assert_eq!(read.projection_lag(), 5);
    }

    #[test]
    fn the_text_of_another_program_is_none() {
        assert_eq!(Figures::read("process_start_time_seconds 1.7e9\n"), None);
        assert_eq!(Figures::read("<html>not here</html>"), None);
    }

    #[test]
    fn rates_are_differences_over_time_unless_the_counters_went_back() {
        let earlier = Figures::read(TEXT).unwrap();
        let later = Figures {
            orders: 140,
            entries: 3_200,
            flushes: 1_050,
            flush_nanos: 2_100_000_000,
            requests: 22,
            ..earlier.clone()
        };
        let rates = Rates::between(&earlier, &later, Duration::from_secs(2)).unwrap();
        let expected = Rates {
            orders: 50.0,
            entries: 100.0,
            flushes: 25.0,
            refused: 0.0,
            requests: 5.0,
            flush: Some(Duration::from_millis(2)),
        };
        assert_eq!(rates, expected);
        assert_eq!(Rates::between(&later, &earlier, Duration::from_secs(2)), None);
        assert_eq!(Rates::between(&earlier, &later, Duration::ZERO), None);
        let idle = Rates::between(&earlier, &earlier, Duration::from_secs(1)).unwrap();
        assert_eq!(idle.flush, None);
    }
}
