//! A Redis in containers: which image, and whether it works here.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::redis::engine::Engine;
use crate::redis::server::{Server, new_enough};
use crate::redis::{Run, debian, ping};
use crate::report::say;

/// The official image.
const REPOSITORY: &str = "redis";
const TAG: &str = "7.4.6";
/// The image that we make if no registry can be reached.
const OWN_REPOSITORY: &str = "requestforge-redis";

const PORT: &str = "6379/tcp";
/// A container answers within about a second.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The label of all containers of the tests. Its value is the id of the run.
pub(crate) const LABEL: &str = "requestforge.run";
/// No run takes that long. The program that started an older container has died.
const STALE: Duration = Duration::from_secs(3 * 60 * 60);

/// An image that works on an engine that answers.
///
/// # Errors
///
/// When there is no engine, no image can be had, or its containers do not answer.
pub(crate) fn find(folder: &Path, run: &Run) -> Result<Server, String> {
    let engine = Engine::find()?;
    let engine = run.engine.get_or_init(|| engine);
    remove_stale(engine);
    let image = image(engine, folder)?;
    let label = (LABEL.to_owned(), run.id.clone());
    let version = tried(engine, &image, &label).map_err(|why| format!("the image {image}: {why}"))?;
    Ok(Server::Container { image, version, label })
}

/// Removes the containers of a run, and returns how many there were.
///
/// # Errors
///
/// When the engine does not do it.
pub(crate) fn remove_all(run: &Run) -> Result<usize, String> {
    // Without an engine, servers are processes, which end by themselves.
    let Some(engine) = run.engine.get() else { return Ok(0) };
    let containers = engine.containers(&format!("{LABEL}={}", run.id))?;
    for container in &containers {
        engine.remove(&container.id)?;
    }
    Ok(containers.len())
}

/// The official image or, if the engine cannot get it, ours.
fn image(engine: &Engine, folder: &Path) -> Result<String, String> {
    let official = format!("{REPOSITORY}:{TAG}");
    if engine.has_image(&official)? {
        return Ok(official);
    }
    // This comes before another pull, because the registry was out of reach when xtask made our image.
    if let Some(own) = own_image(engine)? {
        return Ok(own);
    }
    say(format_args!("redis: pulling the image {official}, for at most two minutes"));
    let Err(why) = engine.pull(REPOSITORY, TAG) else { return Ok(official) };
    say(format_args!("redis: the engine did not pull the image: {why}"));
    say("redis: making an image of Debian's packages instead");
    let unpacked = debian::unpack(folder).map_err(|own| format!("{why}; and no image can be made: {own}"))?;
    let tar = unpacked.tar(folder)?;
    let tag = unpacked.tag();
    let imported = engine.import(&tar, OWN_REPOSITORY, &tag);
    // The image has everything that the archive had.
    let _ = std::fs::remove_file(&tar);
    imported.map_err(|why| format!("the engine did not import an image: {why}"))?;
    own_image(engine)?.ok_or_else(|| "the new image has disappeared".into())
}

/// The latest of our images that was made the way we make them now.
fn own_image(engine: &Engine) -> Result<Option<String>, String> {
    // Podman puts `localhost/` in front.
    let ours = |name: &str| {
        let (repository, tag) = name.rsplit_once(':').unwrap_or_default();
        repository.rsplit('/').next() == Some(OWN_REPOSITORY) && tag.starts_with(debian::RECIPE)
    };
    let images = engine.tags(OWN_REPOSITORY)?;
    let latest = images.into_iter().filter(|(name, _)| ours(name)).max_by_key(|(_, created)| *created);
    Ok(latest.map(|(name, _)| name))
}

/// Starts a container and returns its port on this machine. [`remove_all`] removes it.
///
/// # Errors
///
/// When the container does not start or does not answer.
pub(crate) fn start(image: &str, label: &(String, String), run: &Run) -> Result<u16, String> {
    let engine = run.engine.get().ok_or("no engine was found")?;
    let id = create(engine, image, label)?;
    let (port, _) = answering(engine, &id).inspect_err(|_| _ = engine.remove(&id))?;
    Ok(port)
}

/// Starts a container once and returns the version of the Redis in it. An engine may answer and still be unable to start
/// containers, or may publish their ports on the loopback interface of another machine.
fn tried(engine: &Engine, image: &str, label: &(String, String)) -> Result<String, String> {
    let id = create(engine, image, label)?;
    let answered = answering(engine, &id);
    let removed = engine.remove(&id);
    let (_, version) = answered?;
    removed?;
    new_enough(&version)?;
    Ok(version)
}

fn create(engine: &Engine, image: &str, label: &(String, String)) -> Result<String, String> {
    let command = ["redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"];
    engine.create(image, &command, label, PORT)
}

/// Starts a container and returns its port and its version when it answers.
fn answering(engine: &Engine, id: &str) -> Result<(u16, String), String> {
    let port = engine.start(id, PORT)?;
    Ok((port, ping::version(port, START_LIMIT, || false)?))
}

/// Removes the containers of earlier runs that were killed together with their finder.
fn remove_stale(engine: &Engine) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let limit = now.saturating_sub(STALE).as_secs();
    // Errors are ignored: the same request fails again below, with a better message.
    for container in engine.containers(LABEL).unwrap_or_default() {
        if container.created < limit {
            say(format_args!("redis: removing the container {:.12}, left by an earlier run", container.id));
            let _ = engine.remove(&container.id);
        }
    }
}
