//! Reads and merges the layers of the configuration, key by key, and remembers which layer
//! each value came from, so that every complaint can name the place.
//!
//! The compiled-in `default.toml` holds every key there is. It therefore also says which keys
//! exist and of what type a string from the environment must become.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use toml::{Table, Value};

/// The start of the names of all our environment variables.
const ENV_PREFIX: &str = "TIDEGATE_";

/// Variables with our prefix that are not settings: the file itself, read by the command line.
const NOT_SETTINGS: [&str; 1] = ["TIDEGATE_CONFIG"];

/// A name this similar (1 is equal) is offered as what was probably meant. Below 0.7 the offers
/// were noise in trials with misspelt keys.
const SIMILAR: f64 = 0.7;

/// A variable that names no section is refused only when it is this similar to a setting: others
/// have our prefix too, like those that Kubernetes makes of a service's name.
const MEANT: f64 = 0.9;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Compiled in.
    BuiltIn(&'static str),
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => write!(f, "built-in {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// All layers merged so far: a flat map from `section.key` to the value and its origin.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    /// Starts with the layer that holds every key.
    pub(crate) fn with_defaults(text: &str) -> anyhow::Result<Self> {
        let mut values = BTreeMap::new();
        for (key, value) in flatten(text.parse().context("default.toml")?) {
            values.insert(key, (value, Origin::BuiltIn("defaults")));
        }
        Ok(Self { values })
    }

    /// Lays a TOML text over what is there.
    pub(crate) fn lay_toml(&mut self, text: &str, origin: &Origin) -> anyhow::Result<()> {
        let table: Table = text
            .parse()
            .with_context(|| format!("{origin} is not valid TOML"))?;
        for (key, value) in flatten(table) {
            self.set(&key, value, origin.clone())?;
        }
        Ok(())
    }

    /// Lays environment variables over what is there; others than ours are ignored.
    pub(crate) fn lay_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<()> {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let key = rest.to_ascii_lowercase().replace("__", ".");
            if !key.contains('.') && !self.values.contains_key(&key) && !self.is_meant(&key) {
                continue;
            }
            self.set_text(&key, &text, Origin::Variable(name))?;
        }
        Ok(())
    }

    /// Lays `section.key=value` pairs of the command line over what is there.
    pub(crate) fn lay_flags(&mut self, flags: &[String]) -> anyhow::Result<()> {
        for flag in flags {
            let Some((key, text)) = flag.split_once('=') else {
                bail!("--set {flag}: write --set section.key=value");
            };
            self.set_text(key, text, Origin::Flag)?;
        }
        Ok(())
    }

    /// The text of a key that is a string, empty otherwise.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.values
            .get(key)
            .and_then(|(value, _)| value.as_str())
            .unwrap_or_default()
    }

    /// Where the value of a key came from.
    pub(crate) fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|(_, origin)| origin)
    }

    /// Every key with where its value came from.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&String, &Origin)> {
        self.values.iter().map(|(key, (_, origin))| (key, origin))
    }

    /// Everything as one table.
    pub(crate) fn table(&self) -> Table {
        unflatten(self.values.iter().map(|(key, (value, _))| (key, value)))
    }

    /// The built-in values with only `key` as it is now: to find out which key a complaint is
    /// about, each is tried alone.
    pub(crate) fn table_with_only(&self, base: &Self, key: &str) -> Table {
        unflatten(base.values.iter().map(|(name, (value, _))| {
            let own = self.values.get(name).filter(|_| name == key);
            (name, own.map_or(value, |(value, _)| value))
        }))
    }

    /// Whether a name without a section is a misspelt setting, `http_listen` for example.
    fn is_meant(&self, name: &str) -> bool {
        self.values
            .keys()
            .any(|known| strsim::jaro_winkler(&known.replace('.', "_"), name) >= MEANT)
    }

    /// Lays a value over what is there.
    pub(crate) fn set(&mut self, key: &str, value: Value, origin: Origin) -> anyhow::Result<()> {
        if !self.values.contains_key(key) {
            return Err(self.unknown(key, &origin));
        }
        self.values.insert(key.to_owned(), (value, origin));
        Ok(())
    }

    fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> anyhow::Result<()> {
        let Some((default, _)) = self.values.get(key) else {
            return Err(self.unknown(key, &origin));
        };
        let value = typed_like(default, text).with_context(|| format!("{key} ({origin})"))?;
        self.set(key, value, origin)
    }

    fn unknown(&self, key: &str, origin: &Origin) -> anyhow::Error {
        let nearest = self
            .values
            .keys()
            .map(|known| (strsim::jaro_winkler(known, key), known))
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((_, known)) => {
                anyhow::anyhow!("unknown setting `{key}` ({origin}); did you mean `{known}`?")
            }
            None => anyhow::anyhow!(
                "unknown setting `{key}` ({origin}); `tidegate check-config --defaults` lists all"
            ),
        }
    }
}

/// Turns a string from the environment or the command line into the type of the default.
fn typed_like(default: &Value, text: &str) -> anyhow::Result<Value> {
    Ok(match default {
        Value::Integer(_) => Value::Integer(
            text.parse()
                .with_context(|| format!("`{text}` is not a whole number"))?,
        ),
        Value::Boolean(_) => Value::Boolean(
            text.parse()
                .with_context(|| format!("`{text}` is neither true nor false"))?,
        ),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
        _ => Value::String(text.to_owned()),
    })
}

fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => flat.extend(
                flatten(section)
                    .into_iter()
                    .map(|(key, value)| (format!("{name}.{key}"), value)),
            ),
            value => flat.push((name, value)),
        }
    }
    flat
}

fn unflatten<'a>(flat: impl Iterator<Item = (&'a String, &'a Value)>) -> Table {
    let mut table = Table::new();
    for (key, value) in flat {
        match key.split_once('.') {
            None => {
                table.insert(key.clone(), value.clone());
            }
            Some((section, name)) => {
                let section = table
                    .entry(section)
                    .or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(section) = section {
                    section.insert(name.to_owned(), value.clone());
                }
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str =
        "profile = 'a'\n[http]\nlisten = 'x'\nproxies = []\nlimit = 3\non = true\n";

    fn layers() -> Layers {
        Layers::with_defaults(DEFAULTS).expect("valid")
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let mut layers = layers();
        layers
            .lay_toml(
                "[http]\nlisten = 'file'\nlimit = 4",
                &Origin::File("f".into()),
            )
            .expect("known keys");
        layers
            .lay_environment([("TIDEGATE_HTTP__LISTEN".to_owned(), "env".to_owned())])
            .expect("known keys");
        assert_eq!(layers.text("http.listen"), "env");
        assert_eq!(layers.table()["http"]["limit"].as_integer(), Some(4));
        layers
            .lay_flags(&["http.listen=flag".to_owned()])
            .expect("known keys");
        assert_eq!(layers.text("http.listen"), "flag");
        assert_eq!(layers.text("profile"), "a");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name_and_the_place() {
        let error = layers()
            .lay_toml("[http]\nlisen = 'x'", &Origin::File("my.toml".into()))
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unknown setting `http.lisen` (file my.toml); did you mean `http.listen`?"
        );
        let error = layers()
            .lay_environment([("TIDEGATE_HTTP__LIMITS".to_owned(), "1".to_owned())])
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unknown setting `http.limits` (environment variable TIDEGATE_HTTP__LIMITS); \
             did you mean `http.limit`?"
        );
    }

    #[test]
    fn text_takes_the_type_of_the_default() {
        let mut layers = layers();
        layers
            .lay_flags(&[
                "http.proxies=a, b".to_owned(),
                "http.limit=7".to_owned(),
                "http.on=false".to_owned(),
            ])
            .expect("typed");
        let table = layers.table();
        assert_eq!(table["http"]["proxies"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["http"]["limit"].as_integer(), Some(7));
        assert_eq!(table["http"]["on"].as_bool(), Some(false));
        let error = layers
            .lay_flags(&["http.limit=many".to_owned()])
            .expect_err("no number");
        assert_eq!(error.to_string(), "http.limit (command line)");
    }

    #[test]
    fn other_programs_variables_are_ignored() {
        layers()
            .lay_environment([
                ("PATH".to_owned(), "/bin".to_owned()),
                ("TIDEGATE_CONFIG".to_owned(), "x.toml".to_owned()),
                ("TIDEGATE_TEST_POSTGRES".to_owned(), "url".to_owned()),
                (
                    "TIDEGATE_API_SERVICE_HOST".to_owned(),
                    "10.0.0.1".to_owned(),
                ),
                (
                    "TIDEGATE_API_PORT_3000_TCP".to_owned(),
                    "tcp://10.0.0.1:3000".to_owned(),
                ),
            ])
            .expect("nothing of ours");
        for misspelt in ["TIDEGATE_HTTP_LISTEN", "TIDEGATE_PROFIL"] {
            layers()
                .lay_environment([(misspelt.to_owned(), "x".to_owned())])
                .expect_err(misspelt);
        }
    }
}
