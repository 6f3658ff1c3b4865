//! Token usage: disjoint classes, and how sure we are of them.

use std::ops;

/// A class of tokens or units that has a price of its own. Classes are disjoint: nothing is counted in two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenClass {
    /// Input at the plain rate, tool prompts included.
    UncachedInput,
    /// Input read from the provider's cache.
    CacheRead,
    /// Input written to the provider's cache for five minutes.
    CacheWrite5m,
    /// Input written to the provider's cache for an hour.
    CacheWrite1h,
    /// Text output, reasoning included.
    Output,
    /// Audio input tokens.
    AudioInput,
    /// Audio output tokens.
    AudioOutput,
    /// Input tokens of images, where the provider prices them apart. Where it does not they are plain input.
    ImageInput,
    /// Output tokens of images.
    ImageOutput,
    /// Searches that the provider ran.
    WebSearch,
    /// Searches that a ranking is billed by, one for so many documents; and those of an answer that are of something else than the web: files,
    /// maps, images.
    SearchUnit,
    /// Calls that a guardrail looked at. What it is billed by, units of text for each of its policies, no answer has to state.
    Guardrail,
    /// Audio input read from the provider's cache, which has neither the price of audio nor that of cached text.
    CacheReadAudio,
    /// Answers for which the provider ran code in a container that it bills by time, which no answer states.
    CodeSession,
}

impl TokenClass {
    /// Every class, in the order in which charges are written.
    pub const ALL: [Self; 14] = [
        Self::UncachedInput,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::AudioInput,
        Self::AudioOutput,
        Self::ImageInput,
        Self::ImageOutput,
        Self::WebSearch,
        Self::SearchUnit,
        Self::Guardrail,
        Self::CacheReadAudio,
        Self::CodeSession,
    ];

    /// The name in the `token_class` column and in price books.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UncachedInput => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
            Self::ImageInput => "image_input",
            Self::ImageOutput => "image_output",
            Self::WebSearch => "web_search",
            Self::SearchUnit => "search_unit",
            Self::Guardrail => "guardrail",
            Self::CacheReadAudio => "cache_read_audio",
            Self::CodeSession => "code_session",
        }
    }

    /// The class that [`Self::name`] names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The class whose price holds where a book has none for this one: images cost what text does unless it is said that they do not.
    pub const fn plain(self) -> Option<Self> {
        match self {
            Self::ImageInput => Some(Self::UncachedInput),
            Self::ImageOutput => Some(Self::Output),
            _ => None,
        }
    }

    /// Whether it is counted in units that have a price each, and not in tokens.
    pub const fn is_unit(self) -> bool {
        matches!(self, Self::WebSearch | Self::SearchUnit | Self::Guardrail | Self::CodeSession)
    }
}

/// Counts by class. `reasoning` is a stated part of `output`, not an addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// Input at the plain rate.
    pub uncached_input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache for five minutes, or for a time not stated.
    pub cache_write_5m: u64,
    /// Input written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Text output, reasoning included.
    pub output: u64,
    /// Audio input.
    pub audio_input: u64,
    /// Audio output.
    pub audio_output: u64,
    /// Searches, which are units and not tokens.
    pub web_searches: u64,
    /// The part of `output` that is reasoning.
    pub reasoning: u64,
    /// Searches that a ranking is billed by, which are units and not tokens.
    pub search_units: u64,
    /// Calls that a guardrail looked at, which are units and not tokens.
    pub guardrails: u64,
    /// Input of images, where the provider prices that apart.
    pub image_input: u64,
    /// Output of images.
    pub image_output: u64,
    /// Calls of tools in the answer, which no provider charges by: those that were seen, of one that broke off perhaps not all.
    pub tool_calls: u64,
    /// Audio input read from a cache.
    pub cache_read_audio: u64,
    /// Answers that had code run in a container, which are units and not tokens.
    pub code_sessions: u64,
}

impl Vector {
    /// The count of one class.
    pub const fn of(&self, class: TokenClass) -> u64 {
        match class {
            TokenClass::UncachedInput => self.uncached_input,
            TokenClass::CacheRead => self.cache_read,
            TokenClass::CacheWrite5m => self.cache_write_5m,
            TokenClass::CacheWrite1h => self.cache_write_1h,
            TokenClass::Output => self.output,
            TokenClass::AudioInput => self.audio_input,
            TokenClass::AudioOutput => self.audio_output,
            TokenClass::ImageInput => self.image_input,
            TokenClass::ImageOutput => self.image_output,
            TokenClass::WebSearch => self.web_searches,
            TokenClass::SearchUnit => self.search_units,
            TokenClass::Guardrail => self.guardrails,
            TokenClass::CacheReadAudio => self.cache_read_audio,
            TokenClass::CodeSession => self.code_sessions,
        }
    }

    /// All input tokens, cached ones included.
    pub const fn input(&self) -> u64 {
        self.uncached_input
            .saturating_add(self.all_cache_read())
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
            .saturating_add(self.audio_input)
            .saturating_add(self.image_input)
    }

    /// All input tokens that were read from a cache, audio included.
    pub const fn all_cache_read(&self) -> u64 {
        self.cache_read.saturating_add(self.cache_read_audio)
    }

    /// All output tokens, audio and images included.
    pub const fn all_output(&self) -> u64 {
        self.output.saturating_add(self.audio_output).saturating_add(self.image_output)
    }

    /// All tokens.
    pub const fn total(&self) -> u64 {
        self.input().saturating_add(self.all_output())
    }

    /// Each count with the same one of another.
    #[must_use]
    pub fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            uncached_input: join(self.uncached_input, other.uncached_input),
            cache_read: join(self.cache_read, other.cache_read),
            cache_write_5m: join(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h: join(self.cache_write_1h, other.cache_write_1h),
            output: join(self.output, other.output),
            audio_input: join(self.audio_input, other.audio_input),
            audio_output: join(self.audio_output, other.audio_output),
            web_searches: join(self.web_searches, other.web_searches),
            reasoning: join(self.reasoning, other.reasoning),
            search_units: join(self.search_units, other.search_units),
            guardrails: join(self.guardrails, other.guardrails),
            image_input: join(self.image_input, other.image_input),
            image_output: join(self.image_output, other.image_output),
            tool_calls: join(self.tool_calls, other.tool_calls),
            cache_read_audio: join(self.cache_read_audio, other.cache_read_audio),
            code_sessions: join(self.code_sessions, other.code_sessions),
        }
    }
}

impl ops::Add for Vector {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }
}

/// How far the counts can be trusted. What is not known is not zero: under `Missing` there are no counts at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Completeness {
    /// The provider reported the whole.
    Exact,
    /// The provider reported at least this; the reason says what is not known.
    LowerBound(Doubt),
    /// Nothing was reported; the counts are our own estimate.
    Estimated(Doubt),
    /// Nothing is known.
    Missing(Doubt),
}

/// Why usage is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The client went away and the answer was not drained to its end.
    ClientLeft,
    /// The provider's answer broke off.
    Truncated,
    /// A deadline passed.
    TimedOut,
    /// The whole answer came and it states no usage.
    NotReported,
    /// The answer, or a frame of it, could not be read by the meter.
    Unreadable,
    /// A frame was larger than the meter looks at.
    FrameTooLarge,
    /// The process ended before the attempt did.
    Crashed,
    /// The request could not be sent, or the provider failed or did not answer, so nobody knows whether it worked on it.
    NoAnswer,
    /// The answer states its use in what no class counts, such as seconds of sound.
    NotCounted,
}

impl Doubt {
    /// Every doubt, in wire order.
    pub const ALL: [Self; 9] = [
        Self::ClientLeft,
        Self::Truncated,
        Self::TimedOut,
        Self::NotReported,
        Self::Unreadable,
        Self::FrameTooLarge,
        Self::Crashed,
        Self::NoAnswer,
        Self::NotCounted,
    ];

    /// The name in the `completeness_reason` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed_out",
            Self::NotReported => "not_reported",
            Self::Unreadable => "unreadable",
            Self::FrameTooLarge => "frame_too_large",
            Self::Crashed => "crashed",
            Self::NoAnswer => "no_answer",
            Self::NotCounted => "not_counted",
        }
    }

    /// What is in doubt, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ClientLeft => "the client went away",
            Self::Truncated => "the answer broke off",
            Self::TimedOut => "a deadline passed",
            Self::NotReported => "the answer states no usage",
            Self::Unreadable => "the answer could not be read",
            Self::FrameTooLarge => "a frame of the answer was too large",
            Self::Crashed => "the gateway ended before the attempt",
            Self::NoAnswer => "the provider failed, or did not answer",
            Self::NotCounted => "the answer states its use in what is not counted here",
        }
    }
}

impl Completeness {
    /// The name in the `completeness` column.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::LowerBound(_) => "lower_bound",
            Self::Estimated(_) => "estimated",
            Self::Missing(_) => "missing",
        }
    }

    /// Why the counts are not exact; nothing where they are.
    pub const fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Exact => None,
            Self::LowerBound(why) | Self::Estimated(why) | Self::Missing(why) => Some(*why),
        }
    }
}

/// What an attempt used: one part for each model that ran, since each has its own price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The counts, by model; a part without a model ran on the model that answered.
    pub parts: Vec<Part>,
    /// How sure we are.
    pub completeness: Completeness,
}

/// The counts of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The model, if it is another than the one that answered.
    pub model: Option<String>,
    /// Its counts.
    pub vector: Vector,
}

impl Usage {
    /// Usage of one model, wholly reported.
    pub fn exact(vector: Vector) -> Self {
        Self { parts: vec![Part { model: None, vector }], completeness: Completeness::Exact }
    }

    /// Nothing is known.
    pub const fn missing(why: Doubt) -> Self {
        Self { parts: Vec::new(), completeness: Completeness::Missing(why) }
    }

    /// An answer that costs nothing, such as a provider's refusal.
    pub fn none() -> Self {
        Self::exact(Vector::default())
    }

    /// The sum over all models; nothing where nothing is known.
    pub fn total(&self) -> Option<Vector> {
        match self.completeness {
            Completeness::Missing(_) => None,
            _ => Some(self.parts.iter().fold(Vector::default(), |sum, part| sum + part.vector)),
        }
    }
}
