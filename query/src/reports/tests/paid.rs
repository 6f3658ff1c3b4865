//! What is bought ahead, and costs that are shared.

use serde_json::json;

use super::{
    month::{Call, at},
    *,
};

/// Six million tokens of gpt-5-mini of acme, a quarter of a dollar for each million: one on the second of November and each day after.
/// Globex uses two million on the third.
async fn bought(commitments: &str, shared: &str) -> World {
    let mini = |number: u32, day: i64, tenant, input| {
        Call::new(number, at(day, 1), tenant, "gpt-5-mini", [input, 0, 0]).entry()
    };
    let mut entries: Vec<_> = (1..=6).map(|number| mini(number, i64::from(number) + 1, "acme", 1_000_000)).collect();
    entries.push(mini(7, 3, "globex", 2_000_000));
    let world = World::new(&entries, 3).await;
    for (table, csv) in [("commitments", commitments), ("shared_costs", shared)] {
        world.imports.replace(crate::imports::by_name(table).unwrap(), csv.as_bytes()).await.unwrap();
    }
    world
}

const NONE: &str = "period,name,cost_usd,method\n";

const HEAD: &str = "commitment_id,tenant,kind,provider,model,starts,ends,unit,quantity,cost_usd\n";

/// What is used is drawn once, from the credit that began first; one that ended is not drawn any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_dollar_is_drawn_from_one_credit() {
    let credits = format!(
        "{HEAD}early,acme,credit,openai,,2026-11-01,2026-11-04,usd,0.6,0.5\nlate,acme,credit,openai,,2026-11-01,,usd,0.7,0.5\n\
         all,,credit,openai,,2026-11-03,,usd,10,9\n"
    );
    let world = bought(&credits, NONE).await;
    // The second and third are of `early` (0.5 of 0.6), 0.7 of the dollar after of `late`; the rest, and the half dollar of globex, of all.
    let columns = ["commitment_id", "unit", "bought", "drawn", "remaining"];
    let drawn = rows(&world, "credits", &november(), &[], &columns).await;
    assert_eq!(drawn, json!(["early usd 0.6 0.5 0.1", "late usd 0.7 0.7 0", "all usd 10 0.8 9.2"]));
    let sql = fill(by_name("credits").unwrap(), &Period::new(&november(), at(11, 0)).unwrap(), &[]).unwrap();
    let seen = world.ask(&only(&["acme"]), &sql).await.unwrap();
    let seen: Vec<_> = seen.as_array().unwrap().iter().map(|row| shown(&row["drawn"])).collect();
    assert_eq!(seen, ["0.5", "0.7"]);
}

/// What is used beyond a commitment is not covered by it, and what others use does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_saves_what_it_covers() {
    let commitments = format!(
        "{HEAD}own,acme,provisioned,openai,,2026-11-01,,tokens,3000000,0.5\nall,,provisioned,openai,,2026-11-01,,tokens,10000000,1\n\
         usd,acme,provisioned,openai,,2026-11-01,,usd,1,0.9\n"
    );
    let world = bought(&commitments, NONE).await;
    let columns = ["commitment_id", "used", "on_demand_usd", "covered_usd", "saved_usd", "utilisation"];
    let told = ["own 6000000 1.5 0.75 0.25 1", "usd 1.5 1.5 1 0.1 1"];
    let all = [&["all 8000000 2 2 1 0.8"], &told[..]].concat();
    assert_eq!(rows(&world, "commitments", &november(), &[], &columns).await, json!(all));
    let sql = fill(by_name("commitments").unwrap(), &Period::new(&november(), at(11, 0)).unwrap(), &[]).unwrap();
    let seen = world.ask(&only(&["acme"]), &sql).await.unwrap();
    let seen: Vec<_> =
        seen.as_array().unwrap().iter().map(|row| columns.map(|name| shown(&row[name])).join(" ")).collect();
    assert_eq!(seen, told);
}

/// The parts of a cost add up to all of it.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_shared_cost_are_the_whole() {
    let shared = "period,name,cost_usd,method,tenant,share\n\
        2026-11,thirds,1000000,fixed,acme,0.333333333333\n2026-11,thirds,1000000,fixed,globex,0.666666666667\n\
        2026-11,odd,0.000000000003,even,,\n";
    let world = bought(HEAD, shared).await;
    let columns = ["tenant", "item", "method", "cost_usd"];
    let told = rows(&world, "showback", &november(), &[], &columns).await;
    assert_eq!(
        told,
        json!([
            "acme odd even 0.000000000002",
            "acme own use none 1.5",
            "acme thirds fixed 333333.333333",
            "globex odd even 0.000000000001",
            "globex own use none 0.5",
            "globex thirds fixed 666666.666667"
        ])
    );
}
