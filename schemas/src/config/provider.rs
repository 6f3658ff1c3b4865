//! Providers: where calls go, in which dialect, with what patience.
//!
//! An address is checked by the rules of [`super::base_url`] as far as its text tells; names are checked again when they are
//! resolved. The sandbox is a provider without an address.

use std::time::Duration;

use super::{
    base_url::{BaseUrl, is_private},
    credentials::{self, CredentialSource},
    preset::{SPOKEN, Spoken},
    reader::{Fields, Reader, shown},
    secret::Secret,
    unique::Unique,
    yaml::Node,
};
use crate::error_code::ErrorCode;

/// A provider as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, unique; the `provider` column.
    pub name: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it is; nothing for the sandbox, which is part of the gateway.
    pub base_url: Option<BaseUrl>,
    /// Our credential there; empty if none is configured.
    pub api_key: Secret,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Whether it is spoken to in HTTP/2.
    pub http2: bool,
    /// The most connections to it.
    pub max_connections: usize,
    /// Whether it may be in a private network, and plain http beyond this machine.
    pub allow_private: bool,
    /// How streams come to report usage.
    pub usage_in_stream: UsageInStream,
    /// Request headers forwarded beside the usual ones, in lower case.
    pub forward: Vec<String>,
    /// The sandbox's time between frames.
    pub frame_delay: Duration,
    /// What only some dialects need.
    pub more: More,
}

impl Provider {
    /// Whether it is the maker of the API that it is asked by, or our own, and so heeds each cap that is documented for it, or refuses
    /// it. A server that merely speaks the same may pass over a field that it does not know, and take 0 for no cap.
    pub fn heeds_caps(&self) -> bool {
        match self.dialect {
            Dialect::Sandbox | Dialect::Azure => true,
            Dialect::OpenAi => self.is_at("api.openai.com"),
            Dialect::Anthropic => self.is_at("api.anthropic.com"),
            Dialect::Gemini | Dialect::Vertex | Dialect::Bedrock | Dialect::Cohere => false,
        }
    }

    /// Whose chats it takes, by its preset or by where it is.
    pub fn flavor(&self) -> Flavor {
        match self.more.flavor {
            Flavor::Common if self.is_at("openrouter.ai") => Flavor::OpenRouter,
            Flavor::Common if self.heeds_caps() => Flavor::OpenAi,
            stated => stated,
        }
    }

    fn is_at(&self, host: &str) -> bool {
        let at = self.base_url.as_ref().filter(|url| url.https).map_or("", |url| &url.host);
        at.strip_suffix(host).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}

/// What a provider needs that only some dialects have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Whether it is called without a key.
    pub keyless: bool,
    /// Azure's `api-version`, where a client states none.
    pub api_version: Option<String>,
    /// What signs requests to Amazon, where there is no `api_key`.
    pub aws: Option<AwsKeys>,
    /// Who is asked for its credential, where that does not stand here.
    pub credentials: Option<CredentialSource>,
    /// Whether calls of APIs that are not known here pass to it.
    pub passthrough: bool,
    /// How it takes OpenAI's Responses.
    pub responses: Responses,
    /// Whose chats its preset takes; [`Provider::flavor`] knows more.
    pub flavor: Flavor,
}

/// What signs requests to Amazon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// The region that is called.
    pub region: String,
    /// The id of the key.
    pub access_key_id: Secret,
    /// The key.
    pub secret_access_key: Secret,
    /// The token of a session; empty if the keys are a user's own.
    pub session_token: Secret,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Both: the built-in provider that answers `sandbox/<output_tokens>` without a network.
    Sandbox,
    /// Gemini's, at Google AI.
    Gemini,
    /// Gemini's, at Vertex AI.
    Vertex,
    /// Amazon Bedrock's.
    Bedrock,
    /// Cohere's.
    Cohere,
    /// OpenAI's, as Azure has it: a deployment in the path, an `api-key`, an `api-version`.
    Azure,
}

impl Dialect {
    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Sandbox => "sandbox",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Azure => "azure",
        }
    }
}

/// How long to wait for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until it is connected, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// From the request to the first token of a stream, whatever comes before it; nothing where that may take its time.
    pub first_token: Option<Duration>,
    /// From one byte of the answer to the next.
    pub idle: Duration,
    /// From the request to the end of the answer.
    pub total: Duration,
}

impl Timeouts {
    /// From the request to the first byte: nothing comes before it.
    pub fn first(&self) -> Duration {
        self.first_byte.min(self.first_token.unwrap_or(Duration::MAX))
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(600),
            first_token: None,
            idle: Duration::from_secs(300),
            total: Duration::from_secs(3_600),
        }
    }
}

/// What a chat in OpenAI's dialect may have, beside what every server that speaks it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavor {
    /// Nothing.
    #[default]
    Common,
    /// All of OpenAI's own.
    OpenAi,
    /// The same, and the reasoning that models of others proved: its form for that may be refused by who does not know it.
    OpenRouter,
    /// Less: it refuses members that it does not know and reasoning beside what is said, and takes only ids of calls that are nine
    /// letters and digits.
    Mistral,
}

impl Flavor {
    /// Whether it takes whatever OpenAI does.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenRouter)
    }
}

/// How a provider of OpenAI's dialect takes Responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Responses {
    /// As they come.
    #[default]
    Native,
    /// It has none, so they are carried over to chats.
    Translated,
}

/// How the streams of a provider come to report usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageInStream {
    /// The request has to ask for it, whatever the client sent.
    #[default]
    Ask,
    /// It is sent unasked.
    Always,
    /// It must not be asked for.
    Never,
}

const KNOWN: &[&str] = &[
    "name",
    "dialect",
    "base_url",
    "api_key",
    "api_key_file",
    "credentials",
    "timeouts",
    "http2",
    "max_connections",
    "allow_private",
    "usage_in_stream",
    "forward",
    "frame_delay",
    "api_version",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "passthrough",
    "responses",
];
/// What goes with Amazon only.
const ONLY_BEDROCK: &[&str] = &["region", "access_key_id", "secret_access_key", "session_token"];
/// What means nothing to a provider that is part of the gateway.
const ONLY_REMOTE: &[&str] = &[
    "base_url",
    "api_key",
    "api_key_file",
    "credentials",
    "api_key_file",
    "credentials",
    "timeouts",
    "http2",
    "max_connections",
    "allow_private",
    "usage_in_stream",
    "forward",
    "passthrough",
];
/// What goes with Azure only.
const ONLY_AZURE: &[&str] = &["api_version"];
/// What goes with OpenAI's dialect only.
const ONLY_OPENAI: &[&str] = &["responses"];

/// Headers that are the gateway's own business: credentials, identity, framing.
const NEVER_FORWARDED: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
];

/// Reads the section.
pub(super) fn read(reader: &mut Reader, node: &Node) -> Vec<Provider> {
    let mut names = Unique::new("provider");
    reader.list(node, "providers", |reader, item| provider(reader, item, &mut names)).unwrap_or_default()
}

fn provider(reader: &mut Reader, node: &Node, names: &mut Unique) -> Option<Provider> {
    let fields = reader.fields(node, "a provider", KNOWN)?;
    let name = reader.need(&fields, "name", |reader, node| {
        let name = reader.text(node)?;
        names.add(reader, node.at, &name);
        Some(name)
    });
    let built_in =
        fields.get("dialect").is_none() && fields.get("base_url").is_none() && name.as_deref() == Some("sandbox");
    let spoken = if built_in { Some(Spoken::SANDBOX) } else { reader.need(&fields, "dialect", spoken) };
    let dialect = spoken.map(|spoken| spoken.dialect);
    if dialect == Some(Dialect::Sandbox) {
        for (key, _) in fields.entries().filter(|(key, _)| ONLY_REMOTE.contains(&key.name.as_str())) {
            let what = format!("{:?} does not go with a sandbox provider, which calls nobody", key.name);
            reader.bad(key.at, what, "take it out");
        }
    } else if let Some(at) = fields.place("frame_delay") {
        reader.bad(at, "\"frame_delay\" goes only with a sandbox provider", "take it out");
    }
    misplaced(reader, &fields, dialect);
    let allow_private = reader.or(&fields, "allow_private", false, Reader::boolean);
    let known = spoken.and_then(|spoken| spoken.base_url).filter(|_| fields.get("base_url").is_none());
    let base_url = match (dialect, known) {
        (Some(Dialect::Sandbox), _) => None,
        (_, Some(known)) => Some(BaseUrl::parse(known).ok()),
        _ => Some(reader.need(&fields, "base_url", |reader, node| base_url(reader, node, dialect, allow_private))),
    };
    let region = if dialect == Some(Dialect::Bedrock) { region(reader, &fields) } else { None };
    let provider = Provider {
        api_key: reader.or(&fields, "api_key", Secret::default(), secret),
        timeouts: reader.or(&fields, "timeouts", Timeouts::default(), timeouts),
        http2: reader.or(&fields, "http2", false, Reader::boolean),
        max_connections: reader
            .or(&fields, "max_connections", 20_000, |reader, node| reader.number(node, 1..=1_000_000)),
        allow_private,
        usage_in_stream: reader.or(
            &fields,
            "usage_in_stream",
            spoken.map_or(UsageInStream::Ask, |spoken| spoken.usage_in_stream),
            usage_in_stream,
        ),
        forward: reader.or(&fields, "forward", Vec::new(), forward),
        frame_delay: reader.or(&fields, "frame_delay", Duration::from_millis(20), Reader::duration_or_zero),
        more: More {
            keyless: spoken.is_some_and(|spoken| spoken.keyless),
            api_version: reader.or(&fields, "api_version", None, |reader, node| reader.text(node).map(Some)),
            aws: if dialect == Some(Dialect::Bedrock) { aws(reader, &fields, region.as_ref()) } else { None },
            credentials: credentials::read(reader, &fields, dialect, region),
            passthrough: reader.or(&fields, "passthrough", false, Reader::boolean),
            responses: reader.or(
                &fields,
                "responses",
                spoken.map_or(Responses::Native, |spoken| spoken.responses),
                |reader, node| {
                    reader.one_of(node, &[("native", Responses::Native), ("translated", Responses::Translated)])
                },
            ),
            flavor: spoken.map_or(Flavor::Common, |spoken| spoken.flavor),
        },
        name: name?,
        dialect: dialect?,
        base_url: match base_url {
            Some(read) => Some(read?),
            None => None,
        },
    };
    Some(provider)
}

fn spoken(reader: &mut Reader, node: &Node) -> Option<Spoken> {
    reader.one_of(node, &SPOKEN.map(|spoken| (spoken.name, spoken)))
}

/// Says which keys mean nothing to a dialect.
fn misplaced(reader: &mut Reader, fields: &Fields<'_>, dialect: Option<Dialect>) {
    for (owner, keys) in
        [(Dialect::Bedrock, ONLY_BEDROCK), (Dialect::Azure, ONLY_AZURE), (Dialect::OpenAi, ONLY_OPENAI)]
    {
        let theirs = fields.entries().filter(|(key, _)| keys.contains(&key.name.as_str()));
        for (key, _) in theirs.filter(|_| dialect.is_some_and(|dialect| dialect != owner)) {
            reader.bad(key.at, format!("{:?} goes only with dialect {}", key.name, owner.name()), "take it out");
        }
    }
}

/// What signs requests to Amazon: nothing where no key is given, since `api_key` may be one of Bedrock's own.
fn aws(reader: &mut Reader, fields: &Fields<'_>, region: Option<&String>) -> Option<AwsKeys> {
    let access_key_id = reader.or(fields, "access_key_id", Secret::default(), secret);
    let secret_access_key = reader.or(fields, "secret_access_key", Secret::default(), secret);
    let session_token = reader.or(fields, "session_token", Secret::default(), secret);
    if access_key_id.expose().is_empty() || secret_access_key.expose().is_empty() {
        return None;
    }
    if region.is_none()
        && let Some(at) = fields.place("access_key_id")
    {
        reader.bad(at, "requests are signed for a region, and none is named", "say region: us-east-1, or which it is");
    }
    Some(AwsKeys { region: region?.clone(), access_key_id, secret_access_key, session_token })
}

/// The region that requests to Amazon are signed for: stated, or of an address such as bedrock-runtime.us-east-1.amazonaws.com.
fn region(reader: &mut Reader, fields: &Fields<'_>) -> Option<String> {
    let stated = reader.maybe(fields, "region", |reader, node| {
        let text = reader.text(node)?;
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            reader.bad(node.at, "the region is not the name of one", "write one such as us-east-1");
        }
        Some(text)
    });
    let url = fields.get("base_url").and_then(|node| BaseUrl::parse(&reader.scalar(node)?.text).ok());
    let named = url.filter(|url| url.ip().is_none()).and_then(|url| url.host.split('.').nth(1).map(str::to_owned));
    stated.or(named).filter(|region| !region.is_empty())
}

fn usage_in_stream(reader: &mut Reader, node: &Node) -> Option<UsageInStream> {
    let choices = [("ask", UsageInStream::Ask), ("always", UsageInStream::Always), ("never", UsageInStream::Never)];
    reader.one_of(node, &choices)
}

/// What `timeouts` may name.
pub(super) const WAITS: &[&str] = &["connect", "first_byte", "first_token", "idle", "total"];

fn timeouts(reader: &mut Reader, node: &Node) -> Option<Timeouts> {
    let fields: Fields<'_> = reader.fields(node, "timeouts", WAITS)?;
    let default = Timeouts::default();
    Some(Timeouts {
        connect: reader.or(&fields, "connect", default.connect, Reader::duration),
        first_byte: reader.or(&fields, "first_byte", default.first_byte, Reader::duration),
        first_token: reader.maybe(&fields, "first_token", Reader::duration),
        idle: reader.or(&fields, "idle", default.idle, Reader::duration),
        total: reader.or(&fields, "total", default.total, Reader::duration),
    })
}

/// A credential: what a header can carry, or empty.
fn secret(reader: &mut Reader, node: &Node) -> Option<Secret> {
    let scalar = reader.scalar(node)?;
    if !scalar.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let remedy = "look for quotes, spaces or a line end that do not belong to it";
        reader.bad(node.at, "the api_key has characters that a header cannot carry", remedy);
        return None;
    }
    Some(Secret::new(scalar.text.clone()))
}

fn forward(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    reader.list(node, "forward", |reader, item| {
        let scalar = reader.scalar(item)?;
        let name = scalar.text.to_ascii_lowercase();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            reader.bad(item.at, format!("{} is not the name of a header", shown(scalar)), "");
            return None;
        }
        if NEVER_FORWARDED.contains(&name.as_str()) || name.starts_with("x-tollgate-") {
            let remedy = "credentials, cookies, organisations, framing and our own headers never pass";
            reader.bad(item.at, format!("the header {name:?} is never forwarded"), remedy);
            return None;
        }
        Some(name)
    })
}

fn base_url(reader: &mut Reader, node: &Node, dialect: Option<Dialect>, allow_private: bool) -> Option<BaseUrl> {
    let scalar = reader.scalar(node)?;
    let url = match BaseUrl::parse(&scalar.text) {
        Ok(url) => url,
        Err(why) => {
            reader.bad(
                node.at,
                format!("the base_url is not an address: {why}"),
                "write one such as https://api.openai.com/v1",
            );
            return None;
        }
    };
    let versioned = url.path.ends_with("/v1");
    if matches!(dialect, Some(Dialect::Gemini | Dialect::Cohere)) && !url.path.is_empty() {
        reader.bad(node.at, "the base_url of this provider has no path", "take the path out; the gateway adds it");
    }
    if dialect == Some(Dialect::OpenAi) && !versioned {
        reader.bad(node.at, "the base_url of an openai provider does not end in /v1", "add /v1");
    }
    if dialect == Some(Dialect::Anthropic) && versioned {
        reader.bad(node.at, "the base_url of an anthropic provider ends in /v1", "take /v1 out; the gateway adds it");
    }
    if !url.https && !url.is_loopback() && !allow_private {
        let remedy = "use https, or set allow_private: true if the network between is yours";
        reader.mistake(node.at, ErrorCode::AddressNotAllowed, "plain http to another machine", remedy);
    } else if url.ip().is_some_and(is_private) && !allow_private {
        let remedy = "set allow_private: true if it is meant";
        reader.mistake(
            node.at,
            ErrorCode::AddressNotAllowed,
            "the base_url is an address of a private network",
            remedy,
        );
    }
    Some(url)
}
