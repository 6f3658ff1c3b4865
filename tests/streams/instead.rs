//! Calls that a limit refuses and that are made with another model instead.

use super::*;

#[tokio::test]
async fn what_a_limit_refuses_is_made_with_the_model_that_it_names() {
    let only = |name: &str, model: &str, on_exceed| Limit {
        scope: vec![(Dimension::Model, Match::Is(model.into()))],
        on_exceed,
        ..limit(name, Unit::Requests, 1)
    };
    let large = only("large", "sandbox/30", OnExceed::Downgrade("sandbox/3".into()));
    let house = House::open(vec![large, only("small", "sandbox/3", OnExceed::Refuse)]).await;
    let header = |answer: &reqwest::Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    for (status, tokens, instead) in [(200, Some(30), None), (200, Some(3), Some("sandbox/3")), (429, None, None)] {
        let answer = house.chat("sandbox/30", json!({})).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(header(&answer, "x-tollgate-downgraded").as_deref(), instead);
        assert_eq!(header(&answer, "x-tollgate-downgraded-by").as_deref(), instead.map(|_| "large"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["usage"]["completion_tokens"].as_u64(), tokens, "{body}");
        let limit = body["error"]["limit"]["name"].as_str();
        assert_eq!(limit, (status == 429).then_some("small"), "the client is told of the limit of the other model");
    }
    let ledger = house.ledger(2).await;
    let models: Vec<_> =
        ledger.settled.iter().map(|settled| (&*settled.attempt.model, &*settled.attempt.model_requested)).collect();
    assert_eq!(models, [("sandbox/30", "sandbox/30"), ("sandbox/3", "sandbox/30")]);
}

/// The cap that a client states is for the model that it asks for; another one may answer less, and no more than that is held for it.
#[tokio::test]
async fn a_call_that_is_made_with_another_model_is_held_for_what_that_one_can_answer() {
    let of = |name: &str, model: &str, unit, amount| Limit {
        scope: vec![(Dimension::Model, Match::Is(model.into()))],
        ..limit(name, unit, amount)
    };
    let large = of("large", "sandbox/30", Unit::Requests, 1);
    let large = Limit { on_exceed: OnExceed::Downgrade("sandbox/3".into()), ..large };
    let house = House::open(vec![large, of("small", "sandbox/3", Unit::OutputTokens, 3)]).await;
    for (status, tokens, capped) in [(200, Some(20), None), (200, Some(3), Some("3")), (429, None, None)] {
        let answer = house.chat("sandbox/30", json!({ "max_tokens": 20 })).await;
        assert_eq!(answer.status().as_u16(), status);
        let header = answer.headers().get("x-tollgate-capped").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), capped);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["usage"]["completion_tokens"].as_u64(), tokens, "{body}");
    }
}
