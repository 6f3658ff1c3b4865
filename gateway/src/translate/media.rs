//! Images and files: data URLs, media types and what the dialects call them. No URL is ever fetched here.

use crate::translate::{
    fields::{Fields, Read, Refused},
    hub::{Cache, Media, Source},
};

/// Media types by the ending of a name, and the word that Bedrock has for them.
const KINDS: [(&str, &str); 20] = [
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("mp3", "audio/mp3"),
    ("mp4", "video/mp4"),
    ("json", "application/json"),
];

/// The usual ending of a media type.
pub(crate) fn ending(media: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, known)| *known == media).map(|(ending, _)| *ending)
}

/// The media type that the ending of a name or URL stands for.
pub(crate) fn of_name(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, media)| *media)
}

impl Source {
    /// A URL, or what a `data:` URL holds.
    pub(crate) fn of_url(url: String, at: &str) -> Read<Self> {
        let Some(data) = url.strip_prefix("data:") else { return Ok(Self::Url(url)) };
        let parsed = data.split_once(";base64,").map(|(media, data)| {
            let media = media.split(';').next().unwrap_or_default();
            Self::base64(media.to_owned(), data.to_owned())
        });
        parsed.filter(Self::has_media).ok_or_else(|| Refused::form(at, "a data URL should be data:TYPE;base64,DATA"))
    }

    /// Data of a type, by the name that providers know it by: clients write one that none does.
    pub(crate) fn base64(media: String, data: String) -> Self {
        let media = if media.eq_ignore_ascii_case("image/jpg") { "image/jpeg".to_owned() } else { media };
        Self::Base64 { media, data }
    }

    fn has_media(&self) -> bool {
        matches!(self, Self::Base64 { media, .. } if media.contains('/'))
    }

    /// As a URL, for a dialect that has nothing else.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Base64 { media, data } => format!("data:{media};base64,{data}"),
            Self::Url(url) => url.clone(),
            Self::Text(text) => format!("data:text/plain;base64,{}", encode(text)),
        }
    }
}

impl Media {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source, name: None, context: None, detail: None }
    }
}

/// Base64 as in data URLs.
pub(crate) fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl Cache {
    /// Reads `cache_control`, which other dialects than Anthropic's have taken over.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Read<Option<Self>> {
        let Some(mut control) = fields.object("cache_control")? else { return Ok(None) };
        control.neutral(&[("type", "\"ephemeral\"")])?;
        let at = control.path("ttl");
        let cache = match control.text("ttl")?.as_deref() {
            None => Self::Unsaid,
            Some("5m") => Self::Minutes5,
            Some("1h") => Self::Hour,
            Some(_) => return Err(Refused::form(at, "it should be 5m or 1h")),
        };
        control.done()?;
        Ok(Some(cache))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_urls_are_understood() {
        assert_eq!(of_name("https://a.example/b/C.PDF?x=1.png"), Some("application/pdf"));
        assert_eq!([of_name("https://a.example/b"), ending("image/tiff")], [None, None]);
        assert_eq!(ending("image/jpeg"), Some("jpeg"));
        let source = Source::of_url("data:image/png;charset=x;base64,aGk=".into(), "a").unwrap();
        assert_eq!(source.url(), "data:image/png;base64,aGk=");
        let source = Source::of_url("data:image/jpg;base64,aGk=".into(), "a").unwrap();
        assert_eq!(source.url(), "data:image/jpeg;base64,aGk=");
        assert_eq!(Source::of_url("data:,hi".into(), "a[0]").unwrap_err().at, "a[0]");
        assert_eq!(Source::Text("hi".into()).url(), "data:text/plain;base64,aGk=");
    }
}
