//! What OpenAI's organisation endpoints give: pages of buckets, of costs or of usage; several pages may stand in one file.
//!
//! Usage that is not counted in tokens (images, speech, sessions, stores) is left out, and told: nothing here counts the same.

use std::borrow::Cow;

use schemas::{time::Time, tokens::TokenClass};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Endpoint, Endpoints, Grouped, Line, Page, amount,
    export::{Aside, Bucket},
};

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    data: Vec<Results<'a>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Results<'a> {
    start_time: i64,
    end_time: Option<i64>,
    #[serde(borrow)]
    results: Vec<Of<'a>>,
}

/// A result of any of the endpoints.
#[derive(Deserialize)]
struct Of<'a> {
    #[serde(borrow)]
    object: Cow<'a, str>,
    model: Option<String>,
    line_item: Option<String>,
    project_id: Option<String>,
    api_key_id: Option<String>,
    #[serde(default)]
    user_id: Value,
    #[serde(default)]
    batch: Value,
    #[serde(default)]
    service_tier: Value,
    #[serde(borrow)]
    amount: Option<Amount<'a>>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    input_tokens: Option<i128>,
    input_cached_tokens: Option<i128>,
    output_tokens: Option<i128>,
    input_audio_tokens: Option<i128>,
    output_audio_tokens: Option<i128>,
}

#[derive(Deserialize)]
struct Amount<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    currency: Cow<'a, str>,
}

/// What a credit stands under in the place of a model.
const CREDIT: &str = "credit";

/// How the objects of usage begin.
const USAGE: &str = "organization.usage.";

/// The endpoint of a result, if it counts tokens as charges here do.
fn endpoint(object: &str) -> Option<Endpoint> {
    match object.strip_prefix(USAGE)? {
        "completions.result" => Some(Endpoint::Completions),
        "embeddings.result" => Some(Endpoint::Embeddings),
        "moderations.result" => Some(Endpoint::Moderations),
        _ => None,
    }
}

/// Reads the pages.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Page>, String> {
    let mut pages = Vec::new();
    for page in serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>() {
        let page = page.map_err(|error| format!("the file is not JSON: {error}"))?;
        let written: Vec<Written<'_>> = if page.get().starts_with('[') {
            serde_json::from_str(page.get())
        } else {
            serde_json::from_str(page.get()).map(|page| vec![page])
        }
        .map_err(|error| format!("it is not a page of /v1/organization/costs or /usage/…: {error}"))?;
        for written in written {
            pages.push(written.page()?);
        }
    }
    Ok(pages)
}

impl Written<'_> {
    fn page(self) -> Result<Page, String> {
        let mut page = Page { has_more: self.has_more, ..Page::default() };
        let tells_items = self.data.iter().flat_map(|bucket| &bucket.results).any(|result| result.line_item.is_some());
        let at = |seconds: i64| Time::from_micros(seconds.saturating_mul(1_000_000));
        for bucket in self.data {
            let time = Bucket { starts: at(bucket.start_time), ends: bucket.end_time.map(at), lines: 0 };
            let before = page.lines.len();
            for result in bucket.results {
                let counted = endpoint(&result.object);
                if counted.is_none() && result.object.starts_with(USAGE) {
                    page.left_out.push(Aside { what: result.object.into_owned(), id: None, cost: None });
                    continue;
                }
                page.usage = counted.map_or(page.usage, |counted| page.usage.and(Endpoints::of(counted)));
                result.lines(time, tells_items, &mut page.lines)?;
            }
            page.buckets.push(Bucket { lines: page.lines.len() - before, ..time });
        }
        // Of a page that is left out the days without results say nothing either.
        if page.lines.is_empty() && !page.usage.any() && !page.left_out.is_empty() {
            return Ok(Page { left_out: page.left_out, ..Page::default() });
        }
        Ok(page)
    }
}

impl Of<'_> {
    fn lines(self, bucket: Bucket, tells_items: bool, lines: &mut Vec<Line>) -> Result<(), String> {
        let groups = [&self.model, &self.line_item, &self.project_id, &self.api_key_id];
        let finer = [&self.user_id, &self.batch, &self.service_tier].map(Value::to_string);
        let grouped = Grouped { by: format!("{groups:?}"), finer };
        let key = self.api_key_id.or(self.project_id);
        let line = |model: &str, class, quantity, cost| Line {
            day: bucket.day(),
            starts: bucket.starts,
            model: model.to_owned(),
            class,
            key: key.clone(),
            grouped: grouped.clone(),
            quantity,
            cost,
            id: None,
        };
        if endpoint(&self.object).is_some() {
            let model = self.model.unwrap_or_default();
            let (input, cached) = (self.input_tokens.unwrap_or_default(), self.input_cached_tokens.unwrap_or_default());
            let counts = [
                (TokenClass::UncachedInput, input - cached),
                (TokenClass::CacheRead, cached),
                (TokenClass::Output, self.output_tokens.unwrap_or_default()),
                (TokenClass::AudioInput, self.input_audio_tokens.unwrap_or_default()),
                (TokenClass::AudioOutput, self.output_audio_tokens.unwrap_or_default()),
            ];
            lines.extend(
                counts
                    .iter()
                    .filter(|(_, count)| *count != 0)
                    .map(|(class, count)| line(&model, Some(*class), Some(*count), None)),
            );
            return Ok(());
        }
        if self.object != "organization.costs.result" {
            return Err(format!("results of {} are not known here; costs and usage are", self.object));
        }
        let amount = self.amount.ok_or("a result of costs has no amount")?;
        if !amount.currency.eq_ignore_ascii_case("usd") {
            return Err(format!("an amount is in {}; only usd can be compared", amount.currency));
        }
        let cost = amount::dollars(amount.value.get()).ok_or_else(|| format!("{} is no amount", amount.value))?;
        let quantity = self.quantity.filter(|text| text.get() != "null").and_then(|text| amount::scaled(text.get(), 0));
        // Beside lines that say what they are for, money that is given back for nothing in particular.
        let is_credit = tells_items && self.line_item.is_none() && cost.0 < 0;
        let item = self.line_item.unwrap_or_else(|| if is_credit { CREDIT.to_owned() } else { String::new() });
        let (model, class) = match item.split_once(", ") {
            Some((model, kind)) => (model, class_of(kind)),
            None if class_of(&item) == Some(TokenClass::WebSearch) => ("", Some(TokenClass::WebSearch)),
            None => (item.as_str(), None),
        };
        // Of what it calls neither tokens nor searches the quantity is something else.
        lines.push(line(model, class, quantity.filter(|_| class.is_some()), Some(cost)));
        Ok(())
    }
}

/// What a line item says behind the model; searches stand without one.
fn class_of(kind: &str) -> Option<TokenClass> {
    match kind.trim().to_ascii_lowercase().as_str() {
        "input" => Some(TokenClass::UncachedInput),
        "cached input" => Some(TokenClass::CacheRead),
        "output" => Some(TokenClass::Output),
        "audio input" | "input audio" => Some(TokenClass::AudioInput),
        "audio output" | "output audio" => Some(TokenClass::AudioOutput),
        "image input" | "input image" => Some(TokenClass::ImageInput),
        "image output" | "output image" => Some(TokenClass::ImageOutput),
        "web search tool calls" => Some(TokenClass::WebSearch),
        _ => None,
    }
}
