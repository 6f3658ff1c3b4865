//! An answer as its events, which are the same whether it comes whole or streamed, so that both say the same.
//!
//! Blocks do not overlap, and thinking ends with its proof: [`Blocks`] sees to it for every reader.

use crate::{
    failing::Ended,
    translate::{
        fields::Ledger,
        hub::{Call, What},
        seal::{Kind, Maker, Seal},
    },
};

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    End,
    Length,
    Tool,
    Sequence(Option<String>),
    Filter(Why),
    Refusal(Why),
}

/// Why an answer was refused, as far as the provider says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Why {
    /// Anthropic's word for the policy.
    pub(crate) category: Option<String>,
    pub(crate) explanation: Option<String>,
}

impl Why {
    /// A filter that has a name for what it stops, and maybe more to say of it.
    pub(crate) fn filtered(reason: &str, more: Option<&str>) -> Self {
        let mut explanation = format!("the provider's filter stopped it ({reason})");
        if let Some(more) = more {
            explanation.extend([": ", more]);
        }
        Self { category: None, explanation: Some(explanation) }
    }

    pub(crate) const fn is_said(&self) -> bool {
        self.category.is_some() || self.explanation.is_some()
    }
}

impl Stop {
    /// Why it was refused, if that was said.
    pub(crate) fn why(&self) -> Option<&Why> {
        if let Self::Filter(why) | Self::Refusal(why) = self { Some(why).filter(|why| why.is_said()) } else { None }
    }

    /// The same as a text, for a dialect in which a refusal is one.
    pub(crate) fn refusal(&self) -> Option<String> {
        let why = self.why()?;
        match (&why.explanation, &why.category) {
            (Some(explanation), Some(category)) => Some(format!("{explanation} ({category})")),
            (said, other) => said.clone().or_else(|| other.clone()),
        }
    }
}

/// An answer that a provider gave instead of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// The provider's own word for it.
    pub(crate) code: Option<String>,
    /// The HTTP status that it goes with, if it says.
    pub(crate) status: Option<u16>,
}

impl Fault {
    /// A model that could not finish its answer: the provider's word for it, and what else it says of it.
    pub(crate) fn failed(reason: &str, more: Option<&str>) -> Self {
        let mut message = format!("the provider could not finish its answer ({reason})");
        if let Some(more) = more {
            message.extend([": ", more]);
        }
        Self { message, code: Some(reason.to_owned()), status: Some(502) }
    }
}

/// What is opened in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Text,
    Refusal,
    Thinking,
    Call { id: String, name: String },
}

/// What happens in an answer. Blocks do not overlap: a reader closes one before it opens another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The model that answers.
    Model(String),
    Open(Block),
    /// More of the open block.
    More(String),
    /// What proves the open block, which is thinking.
    Seal(Seal),
    Close,
    /// A block that is a proof and nothing else.
    Sealed(Seal),
    Stop(Stop),
    Fault(Fault),
    /// What this gateway says beside an answer that it has cut.
    Aside(String),
}

/// What opens and closes blocks for a reader, so that they do not overlap and every thinking ends with its proof.
#[derive(Debug)]
pub(crate) struct Blocks {
    open: Option<Block>,
    maker: Maker,
    seal: Option<Seal>,
    /// Whether there was a block of what is said, and not only of thinking.
    has_said: bool,
}

impl Blocks {
    pub(crate) const fn new(maker: Maker) -> Self {
        Self { open: None, maker, seal: None, has_said: false }
    }

    pub(crate) fn open(&mut self, block: Block, out: &mut Vec<Event>) {
        if self.open.as_ref() != Some(&block) {
            self.close(out);
            self.has_said |= block != Block::Thinking;
            out.push(Event::Open(block.clone()));
            self.open = Some(block);
        }
    }

    pub(crate) fn close(&mut self, out: &mut Vec<Event>) {
        let seal = self.seal.take();
        match self.open.take() {
            None => return,
            Some(Block::Thinking) => out.push(Event::Seal(seal.unwrap_or_else(|| self.proof(Kind::Thinking, "")))),
            Some(_) => {}
        }
        out.push(Event::Close);
    }

    /// More of the proof of the thinking that is open.
    pub(crate) fn prove(&mut self, kind: Kind, more: &str) {
        let seal = self.seal.take().unwrap_or_else(|| self.proof(kind, ""));
        self.seal = Some(self.proof(kind, &(seal.data + more)));
    }

    /// The proof of the thinking that is open, as far as it has come.
    pub(crate) fn prove_by(&mut self, seal: Seal) {
        self.seal = Some(seal);
    }

    /// A proof that the provider made.
    pub(crate) fn proof(&self, kind: Kind, data: &str) -> Seal {
        Seal::new(self.maker, kind, data.to_owned())
    }

    /// Says more of a block, which is opened if it is not.
    pub(crate) fn more(&mut self, block: Block, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.open(block, out);
            out.push(Event::More(text));
        }
    }

    pub(crate) fn is_open(&self) -> Option<&Block> {
        self.open.as_ref()
    }

    /// Something was said that is no block.
    pub(crate) const fn say(&mut self) {
        self.has_said = true;
    }

    /// Whether anything was said, and not only thought.
    pub(crate) const fn has_said(&self) -> bool {
        self.has_said
    }
}

/// The end of an answer for a reason that stands in this member; one that is not known is listed.
pub(crate) fn end(ended: Ended, (member, reason): (&str, &str), more: Option<&str>, ledger: &mut Ledger) -> Event {
    Event::Stop(match ended {
        Ended::Itself => Stop::End,
        Ended::Tool => Stop::Tool,
        Ended::Sequence => Stop::Sequence(None),
        Ended::Length => Stop::Length,
        Ended::Filter => Stop::Filter(Why::default()),
        Ended::Failed => return Event::Fault(Fault::failed(reason, more)),
        Ended::Otherwise => {
            ledger.note(format!("{member} {reason}"));
            Stop::End
        }
    })
}

/// An answer, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) model: Option<String>,
    pub(crate) parts: Vec<What>,
    pub(crate) stop: Option<Stop>,
}

impl Answer {
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Model(model) => self.model = Some(model),
            Event::Open(block) => self.parts.push(match block {
                Block::Text => What::Text(String::new()),
                Block::Refusal => What::Refusal(String::new()),
                Block::Thinking => What::Thinking(String::new(), Seal::none()),
                Block::Call { id, name } => What::Call(Call { id, name, arguments: String::new() }),
            }),
            Event::More(more) => match self.parts.last_mut() {
                Some(What::Text(text) | What::Refusal(text) | What::Thinking(text, _)) => text.push_str(&more),
                Some(What::Call(call)) => call.arguments.push_str(&more),
                _ => {}
            },
            Event::Seal(proof) => {
                if let Some(What::Thinking(_, seal)) = self.parts.last_mut() {
                    *seal = proof;
                }
            }
            Event::Close | Event::Aside(_) | Event::Fault(_) => {}
            Event::Sealed(seal) => self.parts.push(What::Sealed(seal)),
            Event::Stop(stop) => self.stop = Some(stop),
        }
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, What::Call(_)))
    }
}
