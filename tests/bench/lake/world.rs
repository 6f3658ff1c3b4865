//! Who calls, what and when: 2,000 tenants and 60 models of eight providers, both by Zipf's law, over days of two months.
//!
//! The largest tenant makes an eighth of all calls. There are some 600,000 users and 19,000 keys; nights are quiet; three calls in five
//! carry four tags; one in a hundred fails at its provider and nobody knows what it used. Prices change once, where the month does.

use std::sync::Arc;

use schemas::{
    event::{Api, Attempt, CallEnd, Outcome, Settled},
    id::CallIds,
    price::Book,
    subject::Subject,
    time::Time,
    tokens::{Doubt, Usage, Vector},
};

use super::lots::{Lots, Weighted, zipf_weight};

pub(crate) const TENANTS: u64 = 2_000;
const MODELS: u64 = 60;
const USERS: u64 = 600_000;
const KEYS: u64 = 19_000;
const GATEWAYS: u64 = 3;
const THREADS: u64 = 2;
const PROVIDERS: [&str; 8] = ["openai", "anthropic", "google", "mistral", "cohere", "deepseek", "xai", "bedrock"];
const HOUR_MICROS: u64 = 3_600_000_000;

/// 2026-09-16T00:00:00Z.
pub(crate) const BEGIN: Time = Time::from_micros(1_789_516_800_000_000);

/// How much is called in each hour of a day.
const HOURS: [u64; 24] = [3, 2, 2, 2, 2, 3, 4, 6, 9, 11, 12, 12, 11, 12, 13, 13, 12, 11, 9, 8, 7, 6, 5, 4];

pub(crate) struct World {
    lots: Lots,
    pub(crate) book: Book,
    tenants: Weighted,
    models: Weighted,
    hours: Weighted,
    rows: u64,
    made: u64,
    /// Of all gateways, each with its name.
    threads: Vec<(Arc<str>, CallIds)>,
}

impl World {
    pub(crate) fn new(seed: u64, rows: u64, days: u64) -> Self {
        let mut lots = Lots::new(seed);
        Self {
            threads: (0..GATEWAYS * THREADS)
                .map(|at| (format!("gateway-{}", at % GATEWAYS + 1).into(), CallIds::new(lots.next())))
                .collect(),
            lots,
            book: book(),
            tenants: Weighted::zipf(TENANTS),
            models: Weighted::zipf(MODELS),
            hours: Weighted::new((0..days).flat_map(|_| HOURS)),
            rows,
            made: 0,
        }
    }

    /// The next attempt by the time of its admission; nothing after the last.
    pub(crate) fn next(&mut self) -> Option<Settled> {
        let admitted_at = (self.made < self.rows).then(|| self.time())?;
        self.made += 1;
        let model = self.models.draw(&mut self.lots) as u64;
        let provider = PROVIDERS[(model % 8) as usize];
        let name = model_name(model);
        let at = self.lots.below(GATEWAYS * THREADS) as usize;
        let (gateway, ids) = &mut self.threads[at];
        let (gateway, call) = (Arc::clone(gateway), ids.next(admitted_at));
        let attempt = Attempt {
            call,
            attempt: 1,
            admitted_at,
            subject: Arc::new(self.subject()),
            api: if provider == "anthropic" { Api::AnthropicMessages } else { Api::OpenAiChat },
            provider: provider.into(),
            model_requested: name.clone(),
            model: name,
            stream: self.lots.per_mille(700),
            book: self.book.hash(),
            gateway,
        };
        Some(self.settled(attempt))
    }

    /// The times of all attempts in order: as many of each hour as its weight says.
    fn time(&mut self) -> Time {
        let point =
            |row: u64| (u128::from(row) * u128::from(self.hours.total() * 1_000_000) / u128::from(self.rows)) as u64;
        let (from, to) = (point(self.made), point(self.made + 1));
        let point = from + self.lots.below((to - from).max(1));
        let (hour, behind) = self.hours.place(point / 1_000_000);
        let micros = (behind * 1_000_000 + point % 1_000_000) * (HOUR_MICROS / 1_000_000) / HOURS[hour % 24];
        Time::from_micros(BEGIN.as_micros() + (hour as u64 * HOUR_MICROS + micros) as i64)
    }

    fn subject(&mut self) -> Subject {
        let tenant = self.tenants.draw(&mut self.lots) as u64;
        let of = |all: u64| (all * zipf_weight(tenant + 1) / self.tenants.total()).max(2);
        // Some users call more than others.
        let user = self.lots.below(of(USERS)).min(self.lots.below(of(USERS)));
        let key = user % of(KEYS);
        let mut tags = Vec::new();
        if self.lots.per_mille(600) {
            let mut tag = |name: &str, value: String| tags.push((name.to_owned(), value));
            tag("cost_center", format!("cc-{:03}", (tenant * 7 + key) % 40));
            tag("env", ["prod", "prod", "prod", "staging", "dev"][self.lots.below(5) as usize].into());
            tag("feature", format!("feature-{}", self.lots.below(12)));
            tag("release", format!("2026.{}", 36 + self.lots.below(6)));
        }
        Subject {
            tenant: format!("tenant-{tenant:04}"),
            team: format!("team-{}", key % 9),
            project: format!("project-{}", key % 31),
            user: format!("user-{tenant:04}-{user:06}"),
            key: format!("key-{key:05}"),
            tags,
        }
    }

    fn settled(&mut self, attempt: Attempt) -> Settled {
        let lots = &mut self.lots;
        let input = lots.size(5, 14);
        let cache_read = if lots.per_mille(300) { input * lots.below(900) / 1_000 } else { 0 };
        let written = attempt.provider == "anthropic" && lots.per_mille(150);
        let cache_write_5m = if written { (input - cache_read) / 2 } else { 0 };
        let output = lots.size(3, 11);
        let reasoning = if lots.per_mille(200) { output * lots.below(800) / 1_000 } else { 0 };
        let uncached_input = input - cache_read - cache_write_5m;
        let vector = Vector { uncached_input, cache_read, cache_write_5m, output, reasoning, ..Vector::default() };
        let ttft_ms = 80 + lots.size(4, 11);
        let settled_at = |ms: u64| Time::from_micros(attempt.admitted_at.as_micros() + (ms * 1_000 + 137) as i64);
        let call =
            |outcome| Some(CallEnd { attempts: 1, outcome, ..CallEnd::begun(attempt.admitted_at, 12, String::new()) });
        if lots.per_mille(10) {
            let failed = Outcome::ProviderError;
            let usage = Usage::missing(Doubt::NoAnswer);
            let bare = Settled::bare(attempt.clone(), settled_at(ttft_ms), failed, usage);
            return Settled { status: 500, call: call(failed), ..bare };
        }
        let ended = settled_at(ttft_ms + output * (6 + lots.below(20)));
        Settled {
            status: 200,
            raw_usage: raw(&attempt, &vector),
            model_answered: format!("{}-2026-08-07", attempt.model),
            service_tier: if attempt.api == Api::OpenAiChat { "default".into() } else { "standard".into() },
            response_id: response_id(lots),
            ttft_ms: Some(ttft_ms),
            call: call(Outcome::Complete),
            ..Settled::bare(attempt, ended, Outcome::Complete, Usage::exact(vector))
        }
    }
}

fn model_name(model: u64) -> String {
    format!("{}-model-{}", PROVIDERS[(model % 8) as usize], model / 8 + 1)
}

/// As long as a provider's, and as hard to compress.
fn response_id(lots: &mut Lots) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letter = |_| char::from(LETTERS[lots.below(62) as usize]);
    "chatcmpl-".chars().chain((0..29).map(letter)).collect()
}

/// What the provider said of it.
fn raw(attempt: &Attempt, vector: &Vector) -> String {
    let (input, output) = (vector.input(), vector.output);
    if attempt.api == Api::AnthropicMessages {
        let (read, written) = (vector.cache_read, vector.cache_write_5m);
        let plain = vector.uncached_input;
        return format!(
            r#"{{"input_tokens":{plain},"cache_creation_input_tokens":{written},"cache_read_input_tokens":{read},"output_tokens":{output},"service_tier":"standard"}}"#
        );
    }
    format!(
        r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0}}}}"#,
        input + output,
        vector.cache_read,
        vector.reasoning
    )
}

/// A price of each class for each model, of which there are others from October on.
fn book() -> Book {
    let usd = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let mut text = String::from("models:\n");
    for model in 0..MODELS {
        let input = 50_000 + model * 83_000;
        let of = |input: u64| {
            let (read, write, output) = (usd(input / 10), usd(input * 5 / 4), usd(input * 4));
            format!("{{ input: {}, cache_read: {read}, cache_write_5m: {write}, output: {output} }}", usd(input))
        };
        text += &format!(
            "  - provider: {}\n    names: [\"{}\"]\n    source: a generator\n    source_date: 2026-09-01\n    prices:\n      \
             - {{ to: 2026-10-01, per_million: {} }}\n      - {{ from: 2026-10-01, per_million: {} }}\n",
            PROVIDERS[(model % 8) as usize],
            model_name(model),
            of(input),
            of(input * 9 / 10),
        );
    }
    Book::of(&[Book::parse(&text, "generated").unwrap()])
}
