//! Proofs of reasoning: what a provider signs or encrypts, and wants back unchanged in the next turn.
//!
//! A proof is worth something only to who made it, so it always says who that was. A client whose dialect has a place for one
//! gets foreign proofs there as `maker:kind:data`, which no provider's own proof looks like, since none has a colon; what comes
//! back is taken apart again. A target gets its own proofs and no others.

/// Who can check a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Claude, wherever it runs: its signatures hold at Anthropic, Bedrock and Vertex.
    Anthropic,
    /// A model of Bedrock that is not Claude.
    Bedrock,
    Cohere,
    Google,
    OpenAi,
    /// A provider that speaks OpenAI's chat dialect and shows its reasoning there. What it proves it by is JSON (`openai_chat::details`).
    Chat,
}

/// What a proof stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The reasoning beside it.
    Thinking,
    /// Reasoning that is not shown.
    Redacted,
    /// The call of a tool behind it.
    Call,
    /// The text before it.
    Text,
    /// What Cohere calls the plan of its tool calls.
    Plan,
}

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) maker: Maker,
    pub(crate) kind: Kind,
    pub(crate) data: String,
}

impl Maker {
    const ALL: [Self; 6] = [Self::Anthropic, Self::Bedrock, Self::Cohere, Self::Google, Self::OpenAi, Self::Chat];

    const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Google => "google",
            Self::OpenAi => "openai",
            Self::Chat => "chat",
        }
    }

    /// The name that `reasoning_details` of the chat dialect has for it.
    pub(crate) const fn format(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-claude-v1",
            Self::Bedrock => "bedrock-v1",
            Self::Cohere => "cohere-v2",
            Self::Google => "google-gemini-v1",
            Self::OpenAi => "openai-responses-v1",
            Self::Chat => "unknown",
        }
    }

    pub(crate) fn of_format(format: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|maker| maker.format() == format)
    }
}

impl Kind {
    const ALL: [Self; 5] = [Self::Thinking, Self::Redacted, Self::Call, Self::Text, Self::Plan];

    const fn name(self) -> &'static str {
        match self {
            Self::Thinking => "thinking",
            Self::Redacted => "redacted",
            Self::Call => "call",
            Self::Text => "text",
            Self::Plan => "plan",
        }
    }
}

impl Seal {
    pub(crate) const fn new(maker: Maker, kind: Kind, data: String) -> Self {
        Self { maker, kind, data }
    }

    /// What stands beside reasoning that nobody proves.
    pub(crate) const fn none() -> Self {
        Self::new(Maker::Chat, Kind::Thinking, String::new())
    }

    /// The proof in a field that `home` has for its own: plain if it is one of those. Where there is none the field still says whose
    /// reasoning it is, since clients take an empty one for a fault.
    pub(crate) fn pack(&self, home: Maker, plain: Kind) -> String {
        if self.maker == home && self.kind == plain && !self.data.is_empty() {
            self.data.clone()
        } else {
            format!("{}:{}:{}", self.maker.name(), self.kind.name(), self.data)
        }
    }

    /// The proof that stands in such a field.
    pub(crate) fn unpack(packed: String, home: Maker, plain: Kind) -> Self {
        match parts(&packed) {
            Some((maker, kind, data)) => Self::new(maker, kind, data.to_owned()),
            None => Self::new(home, plain, packed),
        }
    }

    /// Whether what stands in such a field is a proof of another than the dialect's own maker, or stands for something else there.
    pub(crate) fn is_packed(packed: &str) -> bool {
        parts(packed).is_some()
    }
}

fn parts(packed: &str) -> Option<(Maker, Kind, &str)> {
    let mut parts = packed.splitn(3, ':');
    let (maker, kind) = (parts.next()?, parts.next()?);
    let maker = Maker::ALL.into_iter().find(|known| known.name() == maker)?;
    Some((maker, Kind::ALL.into_iter().find(|known| known.name() == kind)?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_and_a_home_proof_is_plain() {
        for maker in Maker::ALL {
            for kind in Kind::ALL {
                let seal = Seal::new(maker, kind, "EuA:b+/=".into());
                let packed = seal.pack(Maker::Anthropic, Kind::Thinking);
                assert_eq!(Seal::is_packed(&packed), packed != "EuA:b+/=");
                assert_eq!(packed == "EuA:b+/=", (maker, kind) == (Maker::Anthropic, Kind::Thinking));
                assert_eq!(Seal::unpack(packed, Maker::Anthropic, Kind::Thinking), seal);
            }
            assert_eq!(Maker::of_format(maker.format()), Some(maker));
        }
    }
}
