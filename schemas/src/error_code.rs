//! The codes of errors that users see. Each has a page, `schemas/errors/<code>.md`: what happened, why, what to do.
//!
//! A code is never given another meaning and never used again: it stands in refusals in the lake, in logs and in bug reports.
//! TG1xxx configuration and commands, TG2xxx limits, TG3xxx requests and keys, TG4xxx providers, TG5xxx log and journal,
//! TG6xxx query and lake, TG7xxx changes of the policy.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// An error that users see, by what it means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $(#[doc = $title] $(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code, such as `TG2001`.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// What it means, in a few words without a full stop; also the title of its page.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

error_codes! {
    ConfigUnreadable = "TG1001", 500, "The configuration cannot be read";
    UnknownConfigKey = "TG1002", 500, "The configuration has an unknown key";
    MissingConfigKey = "TG1003", 500, "The configuration lacks a key";
    BadConfigValue = "TG1004", 500, "A value in the configuration is not valid";
    UnsetVariable = "TG1005", 500, "An environment variable is not set";
    DuplicateConfig = "TG1006", 500, "Something is configured twice";
    DanglingReference = "TG1007", 500, "The configuration names something that it does not define";
    NotBuilt = "TG1008", 500, "This version cannot do that yet";
    AddressNotAllowed = "TG1009", 500, "A provider's address is not allowed";
    BadPriceFile = "TG1010", 500, "A price file cannot be used";
    RolesNeedKafka = "TG1011", 500, "A subset of roles needs Kafka";
    CannotListen = "TG1012", 500, "An address cannot be listened on";
    ClearSecret = "TG1013", 500, "A secret stands in clear in the configuration";
    ConfigHasNoEffect = "TG1014", 500, "A part of the configuration has no effect";
    NothingToRelease = "TG1015", 500, "There is nothing of that name to release";
    CannotBackfill = "TG1016", 500, "A limit cannot count what was used before it";
    ShareStored = "TG1017", 500, "Tenants share what a provider stores";
    BadCertificate = "TG1020", 500, "A certificate cannot be used";

    HardLimitReached = "TG2001", 429, "A hard limit is reached";
    BoundUnknown = "TG2002", 429, "A hard limit cannot hold a call whose bound is not known";
    PriceUnknown = "TG2003", 429, "A hard limit in dollars cannot hold a call that has no price";
    LeaseNotObtained = "TG2004", 429, "The gateway could not get enough of a hard limit in time";
    JournalBehind = "TG2005", 503, "The journal is behind";
    SoftLimitReached = "TG2006", 429, "A soft limit is reached";
    CheckNotOpen = "TG2007", 404, "No such check is open here";
    CheckConflict = "TG2008", 409, "The check is already open or settled otherwise";
    TooManyChecks = "TG2009", 503, "Too many checks are open";
    GatewayHeard = "TG2010", 409, "A gateway that is heard keeps what it has leased";

    MissingKey = "TG3001", 401, "The request has no key";
    UnknownKey = "TG3002", 401, "The key is not known";
    KeysDisagree = "TG3003", 400, "The request has two keys that differ";
    MalformedJson = "TG3004", 400, "The body is not the JSON that this route takes";
    DuplicateJsonKey = "TG3005", 400, "A key stands twice in the body";
    UnknownModel = "TG3006", 404, "The model is not served here";
    BodyTooLarge = "TG3007", 413, "The body is too large";
    BodyTooSlow = "TG3008", 408, "The body came too slowly";
    UnknownRoute = "TG3009", 404, "There is no such route";
    MethodNotAllowed = "TG3010", 405, "The route does not take this method";
    BadValue = "TG3011", 400, "A value in the request is not valid";
    UnsupportedEncoding = "TG3012", 400, "The body's encoding is not supported";
    BadTags = "TG3013", 400, "The tags are not valid";
    TooBusy = "TG3014", 503, "The gateway is too busy";
    BadHeaders = "TG3015", 400, "The request's headers are not valid";
    BadEvent = "TG3016", 400, "A usage event is not valid";
    EventLowers = "TG3017", 403, "An amendment would lower what was used";
    BadCheck = "TG3018", 400, "A check or settlement is not valid";
    NotItsTenant = "TG3019", 403, "The proxy may not speak for this tenant";
    MalformedForm = "TG3020", 400, "The body is not a form that can be read";
    NoPassthrough = "TG3021", 404, "The provider takes no calls of APIs that are not known here";
    EventUnpriced = "TG3022", 422, "A hard limit in dollars cannot count usage that has no price";
    NotCarried = "TG3025", 400, "The provider has no place for a part of the request";
    NotOfDialect = "TG3026", 400, "A part of the request is not of its dialect";
    AnswerNotCarried = "TG3027", 502, "The provider's answer cannot be translated";
    NoSuchAttempt = "TG3028", 404, "The ledger has no such attempt";
    NotItsAttempt = "TG3029", 403, "The key may not amend attempts of another";
    NotWhatStands = "TG3030", 409, "The amendment does not say what stands";
    AmendedOtherwise = "TG3031", 409, "The attempt was amended otherwise";
    LedgerNotRead = "TG3032", 503, "The ledger could not be read in time";
    EventDiffers = "TG3033", 409, "An event of this source and id was told otherwise";
    NotCached = "TG3034", 504, "The cache has no answer to this call";
    KeyDisabled = "TG3040", 401, "The key is disabled";
    KeyExpired = "TG3041", 401, "The key has expired";
    ModelNotAllowed = "TG3042", 403, "The key may not use the model";
    TokenNotValid = "TG3043", 401, "The token is not valid";
    IssuerAway = "TG3044", 503, "The issuer's keys are not known";
    NotJudged = "TG3050", 400, "The model has a judge and does not take this call";
    NotGoneOn = "TG3051", 400, "The answer could not be gone on with by another model";
    AmendsHit = "TG3052", 409, "An answer from the cache has nothing to amend";

    ProviderUnreachable = "TG4001", 502, "The provider cannot be reached";
    ProviderRefusedCredentials = "TG4002", 502, "The provider refused the gateway's credentials";
    ProviderTimeout = "TG4003", 502, "The provider did not answer in time";
    ProviderBrokeOff = "TG4004", 502, "The provider's answer broke off";
    ProviderUnreadable = "TG4005", 502, "The provider's answer cannot be passed on";
    ProviderHasNoKey = "TG4006", 502, "The gateway has no key for the provider";
    NoTarget = "TG4007", 404, "No target of the model takes this call";
    CredentialNotThere = "TG4008", 503, "The gateway has no valid credential for the provider now";
    NobodyAnswered = "TG4020", 502, "No member of the model answered";

    LogUnreachable = "TG5001", 503, "The log cannot be reached";
    JournalFull = "TG5002", 503, "The journal has no room";
    JournalCorrupt = "TG5003", 503, "The journal is damaged";
    DirectoryLocked = "TG5004", 503, "Another process uses the directory";
    LanesDiffer = "TG5005", 503, "The number of lanes differs";
    TopicConfiguration = "TG5006", 503, "A topic is not configured as it has to be";
    JournalCopied = "TG5007", 503, "The journal was copied or restored";
    LogTrimmed = "TG5008", 503, "The log no longer has what is to be read";
    LogReplaced = "TG5009", 503, "The log lacks what its journal or its lake has had of it";

    QueryRefused = "TG6001", 400, "The query is not allowed";
    SqlError = "TG6002", 400, "The query is not valid";
    UnknownToken = "TG6003", 401, "The access token is missing or not known";
    QueryResources = "TG6004", 503, "The query needs more than it may use";
    LakeUnreachable = "TG6005", 503, "The lake cannot be reached";
    QueryTimeout = "TG6006", 503, "The query took too long";
    ResultTooLarge = "TG6007", 422, "The answer is larger than an answer may be";
    LakeUnusable = "TG6008", 503, "The lake cannot be used as it is";
    HistoryGap = "TG6009", 503, "A part of the ledger is neither in the log nor in the lake";
    ArchiveDamaged = "TG6010", 503, "The archive of the ledger is damaged";
    QueryFailed = "TG6011", 500, "The query failed inside the server";

    NotItsAdmin = "TG7001", 403, "The admin may not do that";
    NoneOfThatName = "TG7002", 404, "There is none of that name";
    OneOfThatName = "TG7003", 409, "There is one of that name or secret already";
    PolicyMoved = "TG7004", 412, "The policy has changed since";
    BadChange = "TG7005", 400, "The change is not valid";
    OtherRequest = "TG7006", 409, "The idempotency key was used for another request";
}

impl ErrorCode {
    /// The error that [`Self::code`] names.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    const SECTIONS: [&str; 3] = ["## What happened", "## Why", "## What to do"];

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("errors");
        let pages: BTreeSet<String> = fs::read_dir(&dir)
            .expect("the pages")
            .map(|page| page.expect("a page").file_name().to_string_lossy().into_owned())
            .collect();
        let expected: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| format!("{code}.md")).collect();
        assert_eq!(pages, expected);
        for code in ErrorCode::ALL {
            let page = fs::read_to_string(dir.join(format!("{code}.md"))).expect("a page");
            assert_eq!(page.lines().next(), Some(format!("# {code}: {}", code.title()).as_str()));
            let sections: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(sections, SECTIONS, "{code}");
            let empty =
                page.split("## ").skip(1).find(|section| section.lines().skip(1).all(|line| line.trim().is_empty()));
            assert_eq!(empty, None, "{code}");
        }
    }

    #[test]
    fn codes_are_in_order_unique_and_read_back() {
        let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.code()), Some(*code));
            assert!((400..=504).contains(&code.status()) || code.code().starts_with("TG1"), "{code}");
            assert!(!code.title().ends_with('.'), "{code}");
        }
        assert_eq!(ErrorCode::parse("TG0000"), None);
    }
}
