//! Secrets that contain, overlap and equal each other. A mask of one of them must not uncover another.

use forge_tests::{Origin, RawReply};
use requestforge::{
    AuthMethod, AuthenticationError, BodyTokenFetcher, ClientCredentialsTokenProvider,
    PasswordGrantTokenProvider, TokenData, TokenFetchPipeline, TokenProvider,
};

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::refusals::answers;

/// The texts that make up the secrets. No output may show one of them, whatever secret it is a part of.
struct Parts {
    texts: [String; 3],
    canaries: Canaries,
}

impl Parts {
    fn new() -> Self {
        let parts = ["first part", "middle part", "last part"].map(Canary::alphanumeric);
        let texts = [0, 1, 2].map(|at: usize| parts[at].to_string());
        Self { texts, canaries: Canaries::new(parts) }
    }
}

#[derive(Clone, Copy, Debug)]
enum Secrets {
    /// A key in the URL is part of the secret, and the secret is part of the password.
    Contain,
    Overlap,
    Equal,
    /// The same, and one character of the secret is a secret too.
    ContainAndShort,
}

impl Secrets {
    /// A key in the URL, the client's secret, and a password or a refresh token.
    fn of(self, [a, b, c]: &[String; 3]) -> [String; 3] {
        match self {
            Self::Contain => [b.clone(), format!("{a}-{b}"), format!("{a}-{b}-{c}")],
            Self::Overlap => [format!("{b}-{c}"), format!("{a}-{b}"), b.clone()],
            Self::Equal => [b.clone(), format!("{a}-{b}-{c}"), format!("{a}-{b}-{c}")],
            Self::ContainAndShort => [b[5..6].to_owned(), b.clone(), format!("{a}-{b}-{c}")],
        }
    }
}

/// The echoes that a server may send: each secret, all of them, overlapping ones as one text, and one in two
/// forms at once.
fn contains_secret(secrets: &[String; 3], [a, b, c]: &[String; 3]) -> Vec<String> {
    let mut contains_secret = secrets.to_vec();
    contains_secret.push(secrets.join(" "));
    contains_secret.push(secrets.concat());
    let longest = secrets.iter().max_by_key(|secret| secret.len()).expect("three secrets");
    contains_secret
        .extend(longest.rsplit_once('-').map(|(start, end)| format!("{start}{}", percent_form(end))));
    if secrets.iter().any(|secret| secret.starts_with(a)) && secrets.iter().any(|secret| secret.ends_with(c))
    {
        contains_secret.push(format!("{a}-{b}-{c}"));
    }
    contains_secret
}

fn percent_form(end: &str) -> String {
    percent_forms(&format!("-{end}"))[0].clone()
}

/// The errors of all kinds of calls with these secrets.
async fn refusals(url: &str, [key, secret, other]: &[String; 3]) -> Vec<(String, AuthenticationError)> {
    let base_url = url;
    let url = format!("{url}/token");
    let mut refusals = Vec::new();
    for method in [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw] {
        let password =
            PasswordGrantTokenProvider::builder(&url, "my app", secret.as_str(), "user", other.as_str());
        let password =
            password.auth_method(method).secret_query_param("key", key.as_str()).build().expect("a provider");
        let refused = password.fetch_token().await.expect_err("a refusal");
        refusals.push((format!("password, {method:?}"), refused));
        let client = ClientCredentialsTokenProvider::builder(&url, "my app", secret.as_str());
        let client =
            client.auth_method(method).secret_query_param("key", key.as_str()).build().expect("a provider");
        let token = TokenData::new(secret.as_str()).with_refresh_token(other.as_str());
        let refused = client.refresh_token(&token).await.expect_err("a refusal");
        refusals.push((format!("refresh, {method:?}"), refused));
    }
    let step = BodyTokenFetcher::builder("step", base_url, "/token").request_data([
        ("client_id", key.as_str()),
        ("client_secret", secret),
        ("password", other),
    ]);
    let pipeline =
        TokenFetchPipeline::builder().cache_key_prefix("parts").step(step.build().expect("a step"));
    let pipeline = pipeline.build().expect("a pipeline");
    refusals.push(("step".to_owned(), pipeline.execute(false).await.expect_err("a refusal")));
    refusals
}

#[tokio::test]
async fn inv34_secrets_that_contain_overlap_or_equal_each_other_are_masked() {
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    for kind in [Secrets::Contain, Secrets::Overlap, Secrets::Equal, Secrets::ContainAndShort] {
        let mut parts = Parts::new();
        let secrets = kind.of(&parts.texts);
        for echo in contains_secret(&secrets, &parts.texts) {
            for (place, answer) in answers(&echo) {
                server.set_reply(move |_| answer.clone());
                for (call, error) in refusals(&server.url(), &secrets).await {
                    parts.canaries.look_at_error(&format!("{kind:?}: {call}, in {place}"), &error);
                }
            }
        }
        parts.canaries.end();
    }
}
