//! The APIs that are metered: what each is called, whose dialect it is, and what it does.
//!
//! A provider that speaks another's dialect has no API of its own: its name stands in `provider`. The order is that of the wire
//! and only grows. To add one: a line in each of the tables here, its number in `wire` and in the contract, its file in
//! the gateway's `meter` and, if it can be bounded, one in `bound`.

/// An API that is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI chat completions.
    OpenAiChat,
    /// OpenAI embeddings.
    OpenAiEmbeddings,
    /// Anthropic messages.
    AnthropicMessages,
    /// Anthropic token counting: a request, never a charge.
    AnthropicCountTokens,
    /// OpenAI completions, before there was chat.
    OpenAiCompletions,
    /// OpenAI responses.
    OpenAiResponses,
    /// OpenAI responses: a conversation made shorter.
    OpenAiResponsesCompact,
    /// OpenAI responses: token counting, never a charge.
    OpenAiResponsesInputTokens,
    /// OpenAI responses: one that exists already is read, cancelled or deleted. What it used is counted once, by its id.
    OpenAiResponsesRetrieve,
    /// OpenAI images: made, edited, varied.
    OpenAiImages,
    /// OpenAI speech, made of text.
    OpenAiSpeech,
    /// OpenAI transcriptions and translations of audio.
    OpenAiTranscriptions,
    /// OpenAI moderations.
    OpenAiModerations,
    /// Reranking as servers of the OpenAI format have it.
    OpenAiRerank,
    /// Anthropic completions, before there were messages.
    AnthropicComplete,
    /// Gemini `generateContent` and `streamGenerateContent`, at Google AI and Vertex.
    GeminiGenerateContent,
    /// Gemini `embedContent`, `batchEmbedContents` and Vertex's `predict`.
    GeminiEmbeddings,
    /// Gemini token counting, never a charge.
    GeminiCountTokens,
    /// Bedrock Converse.
    BedrockConverse,
    /// Bedrock ConverseStream.
    BedrockConverseStream,
    /// Bedrock InvokeModel.
    BedrockInvoke,
    /// Bedrock InvokeModelWithResponseStream.
    BedrockInvokeStream,
    /// Bedrock CountTokens, never a charge.
    BedrockCountTokens,
    /// Cohere v2 chat.
    CohereChat,
    /// Cohere embed.
    CohereEmbed,
    /// Cohere rerank.
    CohereRerank,
    /// Cohere v1 chat and generate.
    CohereV1Chat,
    /// Ollama's own chat and generate.
    OllamaChat,
    /// What is not known here, passed on as it is.
    Passthrough,
    /// The same, where what exists already is read, cancelled or deleted: never a charge. What it used is counted where it was made, or
    /// once, by its id.
    PassthroughRetrieve,
}

/// What an API does, as OpenTelemetry's conventions for generative AI call it where they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer to a conversation.
    Chat,
    /// A text that is gone on with.
    TextCompletion,
    /// An answer of any modality.
    GenerateContent,
    /// Vectors; there is no output.
    Embeddings,
    /// Documents put in order; there is no output.
    Rerank,
    /// A verdict on texts; there is no output.
    Moderation,
    /// Images.
    Image,
    /// Sound.
    Speech,
    /// Text of sound.
    Transcription,
    /// Tokens counted, or something read that exists already: a request, never a charge.
    Free,
    /// Nobody knows.
    Unknown,
}

impl Operation {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Moderation => "moderation",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Free => "count_tokens",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it has output that is counted in tokens.
    pub const fn has_output(self) -> bool {
        !matches!(self, Self::Embeddings | Self::Rerank | Self::Moderation | Self::Free)
    }

    /// Whether an answer can have calls of tools.
    pub const fn calls_tools(self) -> bool {
        matches!(self, Self::Chat | Self::TextCompletion | Self::GenerateContent | Self::Unknown)
    }
}

impl Api {
    /// Every API, in wire order.
    pub const ALL: [Self; 30] = [
        Self::OpenAiChat,
        Self::OpenAiEmbeddings,
        Self::AnthropicMessages,
        Self::AnthropicCountTokens,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::OpenAiResponsesCompact,
        Self::OpenAiResponsesInputTokens,
        Self::OpenAiResponsesRetrieve,
        Self::OpenAiImages,
        Self::OpenAiSpeech,
        Self::OpenAiTranscriptions,
        Self::OpenAiModerations,
        Self::OpenAiRerank,
        Self::AnthropicComplete,
        Self::GeminiGenerateContent,
        Self::GeminiEmbeddings,
        Self::GeminiCountTokens,
        Self::BedrockConverse,
        Self::BedrockConverseStream,
        Self::BedrockInvoke,
        Self::BedrockInvokeStream,
        Self::BedrockCountTokens,
        Self::CohereChat,
        Self::CohereEmbed,
        Self::CohereRerank,
        Self::CohereV1Chat,
        Self::OllamaChat,
        Self::Passthrough,
        Self::PassthroughRetrieve,
    ];

    /// The name in the `api` column, the vendor and what it does.
    const fn facts(self) -> (&'static str, &'static str, Operation) {
        match self {
            Self::OpenAiChat => ("openai.chat", "openai", Operation::Chat),
            Self::OpenAiEmbeddings => ("openai.embeddings", "openai", Operation::Embeddings),
            Self::AnthropicMessages => ("anthropic.messages", "anthropic", Operation::Chat),
            Self::AnthropicCountTokens => ("anthropic.count_tokens", "anthropic", Operation::Free),
            Self::OpenAiCompletions => ("openai.completions", "openai", Operation::TextCompletion),
            Self::OpenAiResponses => ("openai.responses", "openai", Operation::Chat),
            Self::OpenAiResponsesCompact => ("openai.responses.compact", "openai", Operation::Chat),
            Self::OpenAiResponsesInputTokens => ("openai.responses.input_tokens", "openai", Operation::Free),
            Self::OpenAiResponsesRetrieve => ("openai.responses.retrieve", "openai", Operation::Free),
            Self::OpenAiImages => ("openai.images", "openai", Operation::Image),
            Self::OpenAiSpeech => ("openai.audio.speech", "openai", Operation::Speech),
            Self::OpenAiTranscriptions => ("openai.audio.transcriptions", "openai", Operation::Transcription),
            Self::OpenAiModerations => ("openai.moderations", "openai", Operation::Moderation),
            Self::OpenAiRerank => ("openai.rerank", "openai", Operation::Rerank),
            Self::AnthropicComplete => ("anthropic.complete", "anthropic", Operation::TextCompletion),
            Self::GeminiGenerateContent => ("gemini.generateContent", "google", Operation::GenerateContent),
            Self::GeminiEmbeddings => ("gemini.embeddings", "google", Operation::Embeddings),
            Self::GeminiCountTokens => ("gemini.count_tokens", "google", Operation::Free),
            Self::BedrockConverse => ("bedrock.converse", "bedrock", Operation::Chat),
            Self::BedrockConverseStream => ("bedrock.converse_stream", "bedrock", Operation::Chat),
            Self::BedrockInvoke => ("bedrock.invoke", "bedrock", Operation::TextCompletion),
            Self::BedrockInvokeStream => ("bedrock.invoke_stream", "bedrock", Operation::TextCompletion),
            Self::BedrockCountTokens => ("bedrock.count_tokens", "bedrock", Operation::Free),
            Self::CohereChat => ("cohere.v2.chat", "cohere", Operation::Chat),
            Self::CohereEmbed => ("cohere.embed", "cohere", Operation::Embeddings),
            Self::CohereRerank => ("cohere.rerank", "cohere", Operation::Rerank),
            Self::CohereV1Chat => ("cohere.v1.chat", "cohere", Operation::Chat),
            Self::OllamaChat => ("ollama.native_chat", "ollama", Operation::Chat),
            Self::Passthrough => ("passthrough", "", Operation::Unknown),
            Self::PassthroughRetrieve => ("passthrough.retrieve", "", Operation::Free),
        }
    }

    /// The name in the `api` column.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Whose dialect it is: the name of its prices where the provider has none of its own. Empty where nobody knows.
    pub const fn vendor(self) -> &'static str {
        self.facts().1
    }

    /// What it does.
    pub const fn operation(self) -> Operation {
        self.facts().2
    }

    /// Whether it is not known here and passed on as it is.
    pub const fn is_passed_on(self) -> bool {
        matches!(self, Self::Passthrough | Self::PassthroughRetrieve)
    }

    /// Whether it is a request and never a charge.
    pub const fn is_free(self) -> bool {
        matches!(self.operation(), Operation::Free)
    }
}
