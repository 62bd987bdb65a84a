//! The command line.

use crate::app;
use crate::bench::core::{CoreOptions, flow::FlowOptions};
use crate::config::{self, DatabaseConfig, LogConfig, ServeConfig};
use crate::persistence::users::Role;
use crate::{bench, bots, verify};
use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// A spot exchange, chat and short links on supervised, event-sourced actors.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the venue; without any command this is `serve --demo`.
    Serve(Box<ServeConfig>),
    /// Tools for the administrator.
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Replays the log and compares it with snapshots and database.
    Verify {
        /// The TOML file with the server's settings.
        #[arg(long, env = "AGORA_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// The data folder.
        #[arg(long, env = "AGORA_DATA", default_value = "./data", value_name = "DIR")]
        data: PathBuf,
        #[command(flatten)]
        database: DatabaseConfig,
        #[command(flatten)]
        log: LogConfig,
    },
    /// Measures a part against a limit taken in the same run.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Runs whole nodes under a seed, with everything going wrong, and checks what must hold.
    Simulate(crate::simulation::SimulateOptions),
    /// Chats in the terminal.
    Chat(crate::chat_client::terminal::ChatOptions),
    /// Shows in the terminal how a server is doing: markets, rates and, for administrators, the supervision tree.
    Top(crate::top::terminal::TopOptions),
    /// Trades by itself through the public API.
    Bot {
        #[command(subcommand)]
        command: bots::BotCommand,
    },
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Makes an administrator. The password is read from AGORA_ADMIN_PASSWORD.
    Create {
        /// The e-mail address to sign in with.
        email: String,
        /// The data folder.
        #[arg(long, env = "AGORA_DATA", default_value = "./data", value_name = "DIR")]
        data: PathBuf,
        #[command(flatten)]
        database: DatabaseConfig,
    },
    /// Gives a user another role. The user's sessions end, also on a server that runs.
    Promote {
        /// The user's e-mail address.
        email: String,
        /// user, support, moderator or admin.
        #[arg(long, default_value = "admin", value_parser = role)]
        role: Role,
        /// The data folder.
        #[arg(long, env = "AGORA_DATA", default_value = "./data", value_name = "DIR")]
        data: PathBuf,
        #[command(flatten)]
        database: DatabaseConfig,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "the roles are user, support, moderator and admin".into())
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// The embedded log against a bare append and fdatasync loop.
    Log,
    /// One order book in memory, checked against an oracle.
    Core {
        /// How often the flow is run; the median counts.
        #[arg(long, default_value_t = CoreOptions::default().rounds)]
        rounds: usize,
        /// A book of about a thousand live orders instead of a hundred thousand.
        #[arg(long)]
        shallow: bool,
    },
    /// How long a market stands still when its book panics.
    Promotion(bench::promotion::Options),
    /// How long it takes to bring a large book back.
    Recovery(bench::recovery::Options),
    /// Orders over HTTP against a bare JSON server.
    Rest(bench::rest::Options),
    /// Orders alone and beside a thousand sign-ins at once.
    SignIn(bench::rest::flood::FloodOptions),
    /// Orders over RabbitMQ against the embedded log, and how long a fail-over takes.
    Cluster(bench::rest::cluster::Options),
    /// A chat room with many listeners against a bare broadcaster.
    Chat(bench::chat::Options),
    /// One event to many subscribers of the feed against a bare broadcaster.
    Feed(bench::feed::Options),
    /// The bare broadcaster of `bench chat` and `bench feed`.
    #[command(hide = true)]
    Broadcaster {
        /// Where it listens.
        #[arg(long)]
        listen: std::net::SocketAddr,
        /// Threads that serve HTTP; by default one for each core.
        #[arg(long)]
        workers: Option<usize>,
    },
    /// Short links against a bare redirecting server.
    Links(bench::links::Options),
    /// The bare server of `bench links`.
    #[command(hide = true)]
    Redirector {
        /// Where it listens.
        #[arg(long)]
        listen: std::net::SocketAddr,
        /// Threads that serve HTTP.
        #[arg(long)]
        workers: usize,
    },
    /// Orders over the WebSocket, in batches.
    Ws(bench::ws::Options),
    /// The bare JSON server of `bench rest`.
    #[command(hide = true)]
    Echo {
        /// Where it listens.
        #[arg(long)]
        listen: std::net::SocketAddr,
        /// Threads that serve HTTP.
        #[arg(long)]
        workers: usize,
        /// A file in which each order is made durable before it is answered.
        #[arg(long, value_name = "FILE")]
        log: Option<std::path::PathBuf>,
    },
}

impl Cli {
    /// Reads the arguments, with the settings file under them that they name. Without a command they are those of
    /// `serve --demo`. Ends the process, as usual, on `--help` and on a line that cannot be understood.
    ///
    /// # Errors
    /// When the settings file cannot be used.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Cli> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        if arguments.len() < 2 {
            arguments.extend(["serve".into(), "--demo".into()]);
        }
        let command = config::layered(config::without_empty(Cli::command()), &["serve", "verify"], &arguments)?;
        let matches = command.get_matches_from(arguments);
        Cli::from_arg_matches(&matches).map_err(|error| error.exit())
    }
}

/// Does what the command line says.
///
/// # Errors
/// What went wrong, for the terminal.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(settings) => serve(*settings),
        Command::Verify { config: _, data, database, log } => {
            println!("{}", verify::verify(&data, &database, &log)?);
            Ok(())
        }
        Command::Admin { command: AdminCommand::Create { email, data, database } } => {
            create_admin(&email, &data, &database)
        }
        Command::Admin { command: AdminCommand::Promote { email, role, data, database } } => {
            promote(&email, role, &data, &database)
        }
        Command::Bench { command } => measure(command),
        Command::Simulate(options) => {
            // Many runs full of trouble say too much of it, unless somebody wants to hear it.
            if std::env::var_os("AGORA_LOG").is_some() {
                telemetry(false);
            }
            crate::simulation::simulate(&options)
        }
        Command::Chat(options) => actix_web::rt::System::new().block_on(crate::chat_client::terminal::run(&options)),
        Command::Top(options) => actix_web::rt::System::new().block_on(crate::top::terminal::run(&options)),
        Command::Bot { command } => {
            telemetry(false);
            actix_web::rt::System::new().block_on(bots::run(command))
        }
    }
}

fn measure(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Log => println!("{}", bench::log::run(&bench::log::Options::default())?),
        BenchCommand::Core { rounds, shallow } => {
            let flow = if shallow { FlowOptions::shallow() } else { FlowOptions::default() };
            println!("{}", bench::core::run(&CoreOptions { flow, rounds, ..CoreOptions::default() })?);
        }
        BenchCommand::Promotion(options) => println!("{}", bench::promotion::run(&options)?),
        BenchCommand::Recovery(options) => println!("{}", bench::recovery::run(&options)?),
        BenchCommand::Cluster(options) => println!("{}", bench::rest::cluster::run(&options)?),
        BenchCommand::Chat(options) => println!("{}", bench::chat::run(&options)?),
        BenchCommand::Feed(options) => println!("{}", bench::feed::run(&options)?),
        BenchCommand::Broadcaster { listen, workers } => {
            actix_web::rt::System::new().block_on(bench::broadcast::serve(listen, workers))?;
        }
        BenchCommand::Rest(options) => println!("{}", bench::rest::run(&options)?),
        BenchCommand::SignIn(options) => println!("{}", bench::rest::flood::run(&options)?),
        BenchCommand::Links(options) => println!("{}", bench::links::run(&options)?),
        BenchCommand::Redirector { listen, workers } => {
            actix_web::rt::System::new().block_on(bench::links::serve_redirector(listen, workers))?;
        }
        BenchCommand::Ws(options) => println!("{}", bench::ws::run(&options)?),
        BenchCommand::Echo { listen, workers, log } => {
            actix_web::rt::System::new().block_on(bench::rest::serve_echo(listen, workers, log))?;
        }
    }
    Ok(())
}

fn telemetry(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AGORA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,actix_server=warn,lapin=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call finds the first one's subscriber in place, which is as good.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

fn serve(settings: ServeConfig) -> anyhow::Result<()> {
    telemetry(settings.json_logs);
    let system = actix_web::rt::System::new();
    let ended = system.block_on(async move {
        let running = app::start(&settings).await?;
        let address = running.address;
        println!("Agora is running.");
        println!("  page   http://{address}/");
        println!("  API    http://{address}/v1  (feed ws://{address}/v1/feed)");
        if let Some(api) = running.api_address {
            println!("  bare   http://{api}  (feed ws://{api}/)");
        }
        if let Some(address) = running.gitbitex_address {
            println!("  gitbitex http://{address}/");
        }
        println!("  data   {}", settings.data.display());
        if settings.demo || settings.demo_bots {
            bots::spawn_demo(address, &running.accounts);
        }
        running.until_stopped().await
    });
    leave(ended)
}

/// Ends the process with what came of serving. Whatever has to be written is written by now; who dropped the runtime instead
/// would wait for its threads, and one that asks a database which is frozen never comes back.
fn leave(ended: anyhow::Result<()>) -> ! {
    let status = match ended {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("agora: {error:#}");
            1
        }
    };
    // Nobody is left to be told that nobody reads it.
    let _ = std::io::stdout().flush();
    std::process::exit(status)
}

/// The accounts of a data folder, for a command of the administrator.
fn accounts(data: &std::path::Path, database: &DatabaseConfig) -> anyhow::Result<crate::auth::Accounts> {
    let database = crate::persistence::db::Database::connect(&database.options(data))?;
    let clock = std::sync::Arc::new(crate::actors::trading::market_data::wall_clock);
    Ok(crate::auth::Accounts::start(data, database, crate::auth::Settings::default(), clock)?)
}

fn promote(email: &str, role: Role, data: &std::path::Path, database: &DatabaseConfig) -> anyhow::Result<()> {
    let accounts = accounts(data, database)?;
    actix_web::rt::System::new().block_on(async {
        let user = accounts.user_by_email(email).await?;
        accounts.set_role(user.id, role).await?;
        let detail = serde_json::json!({"before": user.role.name(), "after": role.name(), "by": "command line"});
        let subject = Some(user.id);
        let entry =
            crate::persistence::audit::Entry { action: "role_changed", actor: None, subject, address: None, detail };
        accounts.record(entry).await;
        println!("{} has the role {} now", user.email, role.name());
        Ok(())
    })
}

fn create_admin(email: &str, data: &std::path::Path, database: &DatabaseConfig) -> anyhow::Result<()> {
    use crate::auth::Secret;
    let password = std::env::var("AGORA_ADMIN_PASSWORD")
        .context("set AGORA_ADMIN_PASSWORD to the new administrator's password")?;
    std::fs::create_dir_all(data)?;
    let accounts = accounts(data, database)?;
    let created = actix_web::rt::System::new().block_on(async {
        let created = accounts.create_admin(email, Secret::new(password)).await?;
        let detail = serde_json::json!({"after": created.role.name(), "by": "command line"});
        let subject = Some(created.id);
        let entry =
            crate::persistence::audit::Entry { action: "admin_created", actor: None, subject, address: None, detail };
        accounts.record(entry).await;
        anyhow::Ok(created)
    })?;
    println!("{} is an administrator now", created.email);
    Ok(())
}
