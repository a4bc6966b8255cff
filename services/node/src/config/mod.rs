//! The configuration: layers merged, typed, checked against the profile's rules, secrets read.
//!
//! `default.toml` beside this file is the manual. This is the only place that reads the
//! environment.

mod development;
mod layers;
mod production;
mod secrets;
mod sections;
mod values;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use layers::Layers;
pub(crate) use layers::Origin;
pub(crate) use sections::{Config, Shutdown};
pub(crate) use values::{Profile, RegistrationMode, Span};

/// The manual.
pub(crate) const DEFAULTS: &str = include_str!("default.toml");
const DEVELOPMENT: &str = include_str!("development.toml");

/// The file that is read when none is named, if it is there.
const USUAL_FILE: &str = "tidegate.toml";

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The file that must be there.
    pub(crate) file: Option<PathBuf>,
    /// `section.key=value` pairs.
    pub(crate) flags: Vec<String>,
}

/// Reads all layers and gives a configuration that keeps its profile's rules.
pub(crate) fn load(sources: &Sources) -> anyhow::Result<Config> {
    load_from(sources, std::env::vars().collect())
}

fn load_from(sources: &Sources, environment: Vec<(String, String)>) -> anyhow::Result<Config> {
    let base = Layers::with_defaults(DEFAULTS)?;
    // Twice: the profile decides on a layer below the ones that may set it.
    let profile = merge(base.clone(), sources, environment.clone())?
        .text("profile")
        .to_owned();
    let mut start = base.clone();
    if profile == "development" {
        start.lay_toml(DEVELOPMENT, &development::ORIGIN)?;
    }
    let mut layers = merge(start, sources, environment)?;
    development::follow_the_port(&mut layers)?;
    let mut config = parse(&base, &layers)?;
    secrets::read_files(&mut config)?;
    let problems = production::problems(&config);
    if !problems.is_empty() {
        bail!("the configuration is refused:\n- {}", problems.join("\n- "));
    }
    secrets::fill_in(&mut config)?;
    Ok(config)
}

/// The folders that programs are looked for in.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect())
}

fn merge(
    mut layers: Layers,
    sources: &Sources,
    environment: Vec<(String, String)>,
) -> anyhow::Result<Layers> {
    if let Some(path) = file_to_read(sources) {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
        layers.lay_toml(&text, &Origin::File(path))?;
    }
    layers.lay_environment(environment)?;
    layers.lay_flags(&sources.flags)?;
    Ok(layers)
}

fn file_to_read(sources: &Sources) -> Option<PathBuf> {
    sources.file.clone().or_else(|| {
        let usual = Path::new(USUAL_FILE);
        usual.exists().then(|| usual.to_owned())
    })
}

fn parse(base: &Layers, layers: &Layers) -> anyhow::Result<Config> {
    let error = match layers.table().try_into::<Config>() {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    // Find the key that is to blame: the one that spoils the built-in values all by itself.
    for (key, origin) in layers.keys() {
        if let Err(error) = layers.table_with_only(base, key).try_into::<Config>() {
            bail!("{key} ({origin}): {}", first_line(&error.to_string()));
        }
    }
    Err(error).context("the configuration cannot be read")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
