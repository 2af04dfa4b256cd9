//! Pulls one image into a store and says what it cost: `pull <reference> <store> [commit]`.

use std::{env, error::Error, fs, path::Path, time::Instant};

use rocketos_oci::{Reader, ReaderConfig};
use rocketos_store::{Store, Verity};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [reference, path, rest @ ..] = arguments.as_slice() else {
        return Err("usage: pull <reference> <store> [commit]".into());
    };
    let began = Instant::now();
    let store = Store::init(Path::new(path), Verity::Optional)?;
    let reader = Reader::new(ReaderConfig::system())?;
    let resolved = reader.resolve(&reference.parse()?).await?;
    let stats = reader.fetch(&resolved, &store, &()).await?;
    println!("{} {:?}", resolved.manifest_digest, stats);
    println!("fetch {:?}, {}", began.elapsed(), cost()?);
    if !rest.is_empty() {
        let image = store.commit_image(&resolved.manifest, &resolved.config)?;
        println!("{:?}", image.facts);
        println!("commit {:?}, {}", began.elapsed(), cost()?);
    }
    Ok(())
}

/// CPU time in clock ticks (proc_pid_stat(5), fields 14 and 15) and peak memory.
fn cost() -> Result<String, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.split(' ').collect();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    Ok(format!("user {} system {} ticks, {peak}", fields[13], fields[14]))
}
