//! The client of `rocketos_trust::tuf` as a program, with the command line of the TUF conformance suite, so that this
//! or another suite can judge it.
//!
//! `tuf-client --metadata-dir D init <root.json>` takes a first root and asks nobody. `refresh` and `download` ask the
//! repository at `--metadata-url` and `--target-base-url`: `http://`, `https://`, or `file://` for a directory. The exit
//! code is 0, or 1 with the reason on standard error.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use rocketos_trust::tuf::{
    Body, Client, Directory, FileBody, Http, HttpBody, Place, Saved, State, TargetName, Transport, TransportError,
};

/// A client of The Update Framework.
#[derive(Parser)]
struct Arguments {
    /// Where trusted metadata is kept.
    #[arg(long)]
    metadata_dir: PathBuf,
    /// Where the repository's metadata is.
    #[arg(long)]
    metadata_url: Option<String>,
    /// A target to download; may be given more than once.
    #[arg(long = "target-name")]
    target_names: Vec<String>,
    /// Where the repository's targets are.
    #[arg(long)]
    target_base_url: Option<String>,
    /// Where targets are put.
    #[arg(long)]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes the first trusted root.
    Init {
        /// The root that was had by other means.
        root: PathBuf,
    },
    /// Brings metadata up to date.
    Refresh,
    /// Brings metadata up to date and downloads targets, in the order given.
    Download,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("starting").and_then(|runtime| runtime.block_on(run(arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let state = State::open(arguments.metadata_dir)?;
    let names = match arguments.command {
        Command::Init { root } => {
            let bytes = std::fs::read(&root).with_context(|| format!("reading {}", root.display()))?;
            Client::open(state, Some(&bytes), Nowhere)?;
            return Ok(());
        }
        Command::Refresh => Vec::new(),
        Command::Download if arguments.target_names.is_empty() => bail!("download needs a --target-name"),
        Command::Download => arguments.target_names,
    };
    let metadata = arguments.metadata_url.context("--metadata-url is needed")?;
    let transport = Repository::new(&metadata, arguments.target_base_url.as_deref())?;
    let mut client = Client::open(state, None, transport)?;
    let fresh = client.refresh(SystemTime::now()).await?;
    for name in names {
        let folder = arguments.target_dir.as_deref().context("--target-dir is needed")?;
        let target = fresh.find(&TargetName::new(&name)?).await?;
        match fresh.save(&target, folder).await? {
            Saved::Fetched(path) => println!("{name}: {} bytes in {}", target.file.length, path.display()),
            Saved::Present(path) => println!("{name}: there already, {}", path.display()),
        }
    }
    Ok(())
}

/// The transport of a client that only looks at its own state.
struct Nowhere;

impl Transport for Nowhere {
    type Body = FileBody;

    async fn open(&self, _: Place<'_>) -> Result<Option<FileBody>, TransportError> {
        Err("this client has no repository".into())
    }
}

/// What the URLs say.
enum Repository {
    Directory(Directory),
    Http(Http),
}

enum Either {
    File(FileBody),
    Http(HttpBody),
}

impl Repository {
    fn new(metadata: &str, targets: Option<&str>) -> anyhow::Result<Self> {
        if let Some(folder) = metadata.strip_prefix("file://") {
            let targets = targets.map(|targets| targets.strip_prefix("file://").context("mixed kinds of URLs"));
            return Ok(Self::Directory(Directory::new(folder, targets.transpose()?.unwrap_or(folder))));
        }
        let http = Http::new("rocketos-tuf-client", metadata, targets).map_err(anyhow::Error::from_boxed)?;
        Ok(Self::Http(http))
    }
}

impl Transport for Repository {
    type Body = Either;

    async fn open(&self, place: Place<'_>) -> Result<Option<Either>, TransportError> {
        match self {
            Self::Directory(directory) => Ok(directory.open(place).await?.map(Either::File)),
            Self::Http(http) => Ok(http.open(place).await?.map(Either::Http)),
        }
    }
}

impl Body for Either {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        match self {
            Self::File(file) => file.piece().await,
            Self::Http(body) => body.piece().await,
        }
    }
}
