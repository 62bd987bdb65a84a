//! What a node is among others; only with RabbitMQ as the log's engine there are others.

use clap::{Args, ValueEnum};

/// What a node may do besides serving requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NodeRole {
    /// Takes over trading when no other node is active.
    Trading,
    /// Publishes outcomes for other services while it is active.
    Bridge,
}

/// The settings of the cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterConfig {
    /// This node's name: a number from 1 to 65535, or a word that a number is made of. No two nodes may share it.
    #[arg(long, env = "AGORA_NODE", default_value = "1", value_name = "NAME")]
    pub node: String,
    /// This node is the only one at its broker, which lets it have a database of its own. While it runs no other node starts
    /// there: both would give the same numbers to different people. If there is another one already, this one ends.
    #[arg(long, env = "AGORA_ONLY_NODE")]
    pub only_node: bool,
    /// What the node may do besides serving requests. A node without `trading` only ever follows.
    #[arg(
        long,
        env = "AGORA_ROLES",
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_values_t = [NodeRole::Trading, NodeRole::Bridge]
    )]
    pub roles: Vec<NodeRole>,
    /// Seconds between the heartbeats that say that the active node lives. It is given up after two to three of them.
    #[arg(long, env = "AGORA_CLUSTER_HEARTBEAT", default_value_t = 1, value_name = "SECONDS",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub cluster_heartbeat: u16,
}

impl ClusterConfig {
    /// The node's number, which is never 0.
    pub fn number(&self) -> u16 {
        if let Ok(number @ 1..) = self.node.parse::<u16>() {
            return number;
        }
        let hash = blake3::hash(self.node.as_bytes());
        let (low, high) = (hash.as_bytes().first(), hash.as_bytes().get(1));
        u16::from_le_bytes([low.copied().unwrap_or(1), high.copied().unwrap_or(0)]).max(1)
    }

    /// Whether the node may do this.
    pub fn has(&self, role: NodeRole) -> bool {
        self.roles.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_number_whatever_its_name() {
        let of = |node: &str| {
            let node = node.into();
            ClusterConfig { node, only_node: false, roles: vec![], cluster_heartbeat: 1 }.number()
        };
        assert_eq!((of("1"), of("65535")), (1, 65_535));
        assert!(of("0") > 0 && of("alpha") > 0);
        assert_ne!(of("alpha"), of("beta"));
        assert_eq!(of("alpha"), of("alpha"));
    }
}
