//! The job on your own servers: one token, one GET.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::time::SystemTime;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use requestforge::oauth2::OAuthErrorCode;
use requestforge::reqwest::Url;
use requestforge::{
    AuthMethod, AuthenticationError, AuthenticationErrorKind, ClientCredentialsTokenProvider, ConfigError,
    Credential, HttpClient, HttpClientError, Secret, TokenManager,
};

use crate::chain::causes;
use crate::timeline::say;

/// Gets a token and calls an API with it.
///
/// Without options it starts an authorization server, an API and another origin on this machine, sends some
/// 2000 requests to them, and checks the promises of requestforge against their counts. This takes a few
/// seconds, and sends nothing to other machines.
///
/// With --token-url, --client-id and --get it gets a token from your authorization server by the client
/// credentials grant, sends one GET with it, and prints the response. It never prints the token, and sends
/// it only to the origin (scheme, host, port) of the --get URL.
#[derive(Parser)]
#[command(bin_name = "cargo run --example quickstart --", after_long_help = AFTER_HELP)]
struct Options {
    #[command(flatten)]
    job: Option<Job>,
}

// The options come all together or not at all: `required = false` allows the run without any option.
#[derive(Args)]
#[group(requires_all = ["token_url", "client_id", "get"])]
pub(super) struct Job {
    /// The token endpoint of your authorization server: https, or http on this machine
    #[arg(
        long,
        env = "REQUESTFORGE_TOKEN_URL",
        value_name = "URL",
        required = false,
        hide_env_values = true
    )]
    token_url: String,
    /// Your client id at the authorization server
    #[arg(long, env = "REQUESTFORGE_CLIENT_ID", value_name = "ID", required = false, hide_env_values = true)]
    client_id: String,
    /// The file with the client secret; a newline at its end is ignored
    #[arg(long, env = "REQUESTFORGE_CLIENT_SECRET_FILE", value_name = "FILE", hide_env_values = true)]
    client_secret_file: Option<PathBuf>,
    /// The scope of the token: one or more words, separated by spaces
    #[arg(long, env = "REQUESTFORGE_SCOPE", hide_env_values = true)]
    scope: Option<String>,
    /// The way to send the secret to the token endpoint
    #[arg(long, env = "REQUESTFORGE_AUTH_METHOD", default_value = "body", hide_env_values = true)]
    auth_method: Method,
    /// The URL to get with the token
    #[arg(long, env = "REQUESTFORGE_GET_URL", value_name = "URL", required = false, hide_env_values = true)]
    get: String,
}

const AFTER_HELP: &str = "\
The client secret comes from the environment variable REQUESTFORGE_CLIENT_SECRET, or from a file, which
goes first if both are there. There is no option for it: other users of a machine can read arguments.

Examples:
  cargo run --example quickstart

  REQUESTFORGE_CLIENT_SECRET=… cargo run --example quickstart -- \\
      --token-url https://auth.example.com/oauth/token --client-id your-client-id \\
      --get https://api.example.com/users

  cargo run --example quickstart -- --client-secret-file secret.txt --auth-method header \\
      --token-url https://auth.example.com/oauth/token --client-id your-client-id \\
      --scope \"read write\" --get https://api.example.com/users

Exit status: 0 if all promises were kept, or the GET was answered with a status from 200 to 299;
1 if not; 2 if the options make no sense.";

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// In the body, the most common way
    Body,
    /// By HTTP Basic, percent-encoded as RFC 6749 requires
    Header,
    /// By HTTP Basic without that encoding
    HeaderRaw,
}

impl From<Method> for AuthMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Body => Self::Body,
            Method::Header => Self::Header,
            Method::HeaderRaw => Self::HeaderRaw,
        }
    }
}

impl Job {
    /// Returns the job from the options and the environment, if they name one. If they are invalid, this
    /// ends the process.
    pub(super) fn from_options() -> Option<Self> {
        let job = Options::parse().job?;
        if job.client_secret_file.is_none() && env::var_os("REQUESTFORGE_CLIENT_SECRET").is_none() {
            let lacking =
                "the client secret is missing: set REQUESTFORGE_CLIENT_SECRET or give --client-secret-file";
            Options::command().error(ErrorKind::MissingRequiredArgument, lacking).exit();
        }
        Some(job)
    }

    /// Returns whether the API answered with success.
    pub(super) async fn run(self) -> Result<bool, Box<dyn Error>> {
        let secret = self.secret()?;
        let mut provider = ClientCredentialsTokenProvider::builder(self.token_url, self.client_id, secret)
            .auth_method(self.auth_method.into());
        if let Some(scope) = self.scope {
            provider = provider.scope(scope);
        }
        let manager = TokenManager::new(provider.build()?);

        let invalid = |error| ConfigError::new("get", "an absolute http or https URL").with_source(error);
        let get = Url::parse(&self.get).map_err(invalid)?;
        // The token belongs to this origin, so the client sends it to no other origin after a redirect.
        let origin = get.origin().ascii_serialization();
        let client = HttpClient::builder(origin).with_token_auth(manager.clone()).build()?;

        // The client would get the token by itself. The example gets it first, to print its description.
        let token = manager.get_token().await?;
        say(format_args!("token: {}", description(&token)));

        let mut response = client.get(&self.get).send().await?;
        let (status, url) = (response.status_code(), response.url());
        // The line omits the query, which may contain a secret.
        say(format_args!("GET {}{}: {status}", url.origin().ascii_serialization(), url.path()));
        let mut body = Vec::new();
        while body.len() < MAX_READ
            && let Some(piece) = response.chunk().await?
        {
            body.extend_from_slice(&piece);
        }
        // After a 401 the client may have sent another token.
        let tokens: Vec<_> = [Some(token), manager.cached()].into_iter().flatten().collect();
        let body = presentable(&String::from_utf8_lossy(&body), &tokens);
        let shown: String = body.chars().take(MAX_SHOWN).collect();
        say(format_args!("\n{shown}{}", if shown.len() < body.len() { "\n… (cut here)" } else { "" }));
        if !status.is_success() {
            say(format_args!("\nThe token was had, but the API answered with {status}."));
        }
        Ok(status.is_success())
    }

    fn secret(&self) -> Result<Secret, ConfigError> {
        let Some(file) = &self.client_secret_file else {
            // The error of `env::var` would show the value.
            let secret = env::var("REQUESTFORGE_CLIENT_SECRET")
                .map_err(|_| ConfigError::new("REQUESTFORGE_CLIENT_SECRET", "UTF-8"))?;
            return Ok(secret.into());
        };
        let unreadable =
            |error| ConfigError::new("client_secret_file", "a text file to be read").with_source(error);
        let mut secret = fs::read_to_string(file).map_err(unreadable)?;
        if secret.ends_with('\n') {
            secret.pop();
            if secret.ends_with('\r') {
                secret.pop();
            }
        }
        Ok(secret.into())
    }
}

/// The characters of the body that the example shows.
const MAX_SHOWN: usize = 4096;
/// The bytes of the body that the example reads: enough for that many characters, so that it never cuts a
/// token in the shown part.
const MAX_READ: usize = 64 * 1024;

/// Everything about a token except its text.
fn description(credential: &Arc<Credential>) -> String {
    let token = credential.token();
    let shown = |text: &str| presentable(text, slice::from_ref(credential));
    let kind = shown(token.token_type());
    let expiry = match token.expires_at() {
        Some(end) => {
            let left = SystemTime::from(end).duration_since(SystemTime::now()).unwrap_or_default();
            format!("expires in {:.0} s", left.as_secs_f64())
        }
        None => "no expiry stated".to_owned(),
    };
    let scope =
        token.scope().map_or("no scope stated".to_owned(), |scope| format!("scope `{}`", shown(scope)));
    format!("{kind}, {expiry}, {scope}")
}

/// A server's text without control characters for the terminal, and without our tokens, which some APIs
/// echo.
fn presentable(text: &str, tokens: &[Arc<Credential>]) -> String {
    let turns_or_hides =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    let is_plain = |c: char| !c.is_control() && !turns_or_hides(c) || matches!(c, '\n' | '\t');
    let text = text.chars().filter(|&c| is_plain(c)).collect();
    // Long tokens first: one token may be part of another.
    let mut tokens: Vec<_> = tokens.iter().collect();
    tokens.sort_by_key(|token| std::cmp::Reverse(token.access_token().len()));
    tokens.iter().fold(text, |text: String, token| text.replace(token.access_token(), "[the token]"))
}

/// A hint at the likely cause of this error.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    causes(error).find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<AuthenticationError>() {
            about_the_token(error.kind())
        } else if let Some(error) = cause.downcast_ref::<ConfigError>() {
            about_settings(error.field())
        } else {
            about_the_api(cause.downcast_ref()?)
        }
    })
}

fn about_the_token(kind: &AuthenticationErrorKind) -> Option<&'static str> {
    use AuthenticationErrorKind::{Connect, InvalidResponse, Refused, Status, Timeout};
    use OAuthErrorCode::{InvalidClient, InvalidScope, UnauthorizedClient, UnsupportedGrantType};
    Some(match kind {
        Refused(InvalidClient) => {
            "check client id and secret; some servers want --auth-method header, a few header-raw"
        }
        Refused(InvalidScope) => "check --scope: this client may not have it, or has to name one",
        Refused(UnauthorizedClient | UnsupportedGrantType) => {
            "this client must be allowed the client credentials grant, at the authorization server"
        }
        Status | InvalidResponse => {
            "is --token-url the token endpoint, to the letter? A slash at its end may matter"
        }
        Connect | Timeout => "can the host of --token-url be reached from here?",
        _ => return None,
    })
}

fn about_the_api(error: &HttpClientError) -> Option<&'static str> {
    if error.is_builder() {
        return Some("see --get, or REQUESTFORGE_GET_URL in the environment");
    }
    let is_unreachable = error.is_connect() || error.is_timeout();
    is_unreachable.then_some("the token was had, but can the host of --get be reached from here?")
}

fn about_settings(field: &str) -> Option<&'static str> {
    Some(match field {
        "token_url" => "see --token-url, or REQUESTFORGE_TOKEN_URL in the environment",
        "client_id" => "see --client-id, or REQUESTFORGE_CLIENT_ID in the environment",
        "client_secret" => {
            "see REQUESTFORGE_CLIENT_SECRET in the environment, or the file of --client-secret-file"
        }
        "client_secret_file" => {
            "see --client-secret-file, or REQUESTFORGE_CLIENT_SECRET_FILE in the environment"
        }
        "get" => "see --get, or REQUESTFORGE_GET_URL in the environment",
        _ => return None,
    })
}
