/// Whether many APIs use this name for a credential: the name of a header, of a field in a body, or of a parameter in a
/// query. Case and separators only tell words apart: `x-otp`, `userOtp` and `OTP` name a credential, `footprint` does
/// not.
///
/// No list of such names is complete. A client uses this one to mask fields and parameters in a log. For headers a client
/// uses a list of harmless names instead, which decides which headers it logs and sends to other origins. A provider uses
/// this list to reject secrets in a token URL, because the URL becomes part of the cache key.
///
/// ```
/// use requestforge::auth::looks_like_credential_name;
///
/// assert!(looks_like_credential_name("X-Vault-Token"));
/// assert!(!looks_like_credential_name("X-Tenant"));
/// ```
#[must_use]
pub fn looks_like_credential_name(name: &str) -> bool {
    let words: Vec<String> = words(name).filter(|word| !HARMLESS.contains(&word.as_str())).collect();
    let joined = words.concat();
    PARTS.iter().any(|part| joined.contains(part))
        || NAMES.contains(&joined.as_str())
        || words.iter().any(|word| {
            WORDS.contains(&word.as_str())
                || ENDS.iter().any(|end| word.starts_with(end) || word.ends_with(end))
        })
}

/// Texts that hardly any harmless name contains. If one does, the log masks a harmless value, which is better than
/// showing a secret.
const PARTS: &[&str] = &[
    "assertion",
    "auth",
    "backupcode",
    "bearer",
    "connectionstring",
    "cookie",
    "credential",
    "csrf",
    "cvc",
    "cvv",
    "devicecode",
    "dpop",
    "hmac",
    "jwt",
    "key",
    "nonce",
    "passcode",
    "passphrase",
    "passw",
    "recoverycode",
    "samlresponse",
    "secret",
    "sessid",
    "session",
    "signature",
    "ticket",
    "token",
    "usercode",
    "verifier",
    "xsrf",
];

/// Texts that mark a credential at the beginning or the end of a word. Inside a word they are harmless.
const ENDS: &[&str] = &["otp", "pwd"];

/// Texts that mark a credential only as a whole word, since many harmless words contain them.
const WORDS: &[&str] = &["dsn", "pass", "pin", "private", "sid", "sig"];

/// Texts that mark a credential only as the whole name: `code` may be an authorization code (RFC 6749 4.1.3),
/// `country_code` is not.
const NAMES: &[&str] = &["code"];

/// Harmless words that contain `auth` or `key`.
const HARMLESS: &[&str] = &[
    "author",
    "authors",
    "donkey",
    "hockey",
    "keyboard",
    "keyboards",
    "keyword",
    "keywords",
    "monkey",
    "monkeys",
    "turkey",
    "whiskey",
];

/// The words of a name, in lower case. `apiKey`, `API_Key`, `api-key` and `SAMLResponse` have two words each. Digits
/// separate words.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let after = letters.get(at + 1);
        let begins = letter.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase())
                || before.is_some_and(|before| before.is_uppercase())
                    && after.is_some_and(|after| after.is_lowercase()));
        if begins || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if letter.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_however_they_are_written() {
        for (name, expected) in [
            ("accessToken", &["access", "token"][..]),
            ("SAMLResponse", &["saml", "response"]),
            ("X-API_Key", &["x", "api", "key"]),
            ("user[OTP]2", &["user", "otp"]),
            ("--", &[]),
        ] {
            assert_eq!(words(name).collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn inv16_credentials_are_known_by_their_names() {
        for name in [
            "authorization",
            "proxy-authorization",
            "x-api-key",
            "apikey",
            "ApiKeys",
            "X-RapidAPI-Key",
            "x-otp",
            "smsotp",
            "otpCode",
            "x-totp",
            "x-pwd",
            "userpwd",
            "x-bearer",
            "x-sid",
            "accountSid",
            "x-sig",
            "x-hub-sig",
            "x-pin",
            "userPin",
            "PIN2",
            "x-nonce",
            "x-ticket",
            "x-assertion",
            "x-hmac",
            "x-hmac-sha256",
            "x-xsrf",
            "X-XSRF-TOKEN",
            "passphrase",
            "pass_phrase",
            "passcode",
            "passCode",
            "SAMLResponse",
            "saml_response",
            "recovery_codes",
            "recoveryCode",
            "backup-codes",
            "private",
            "privateData",
            "private_exponent",
            "connectionString",
            "connection_string",
            "dsn",
            "sentryDsn",
            "code",
            "Code",
            "device_code",
            "userCode",
            "code_verifier",
            "PHPSESSID",
            "cvv2",
            "user[password]",
            "authorKey",
        ] {
            assert!(looks_like_credential_name(name), "{name}");
        }
    }

    #[test]
    fn harmless_names_are_known_too() {
        for name in [
            "accept",
            "accept-encoding",
            "cache-control",
            "content-type",
            "etag",
            "keep-alive",
            "traceparent",
            "x-correlation-id",
            "x-request-id",
            "x-forwarded-for",
            "x-ratelimit-remaining",
            "x-signal",
            "monkey",
            "x-monkey",
            "keyboard",
            "author",
            "keywords",
            "footprint",
            "laptop",
            "compass",
            "passenger",
            "spinning",
            "inside",
            "residence",
            "design",
            "postcode",
            "country_code",
            "statusCode",
            "announcement",
            "name",
            "state",
            "",
        ] {
            assert!(!looks_like_credential_name(name), "{name}");
        }
    }
}
