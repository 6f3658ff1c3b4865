use super::*;

fn key(tenant: &str, parts: &[&str]) -> Key {
    key_after(0, tenant, parts)
}

fn key_after(ended: u64, tenant: &str, parts: &[&str]) -> Key {
    let mut keying = Keying::of(tenant, ended);
    parts.iter().for_each(|part| keying.add(part.as_bytes()));
    keying.key()
}

fn kept(body: &[u8]) -> Kept {
    let made = Made {
        api: Api::OpenAiChat,
        provider: "p".into(),
        model: "m".into(),
        parts: Vec::new(),
        model_answered: String::new(),
        service_tier: String::new(),
        region: String::new(),
        response_id: String::new(),
    };
    Kept { headers: HeaderMap::new(), body: Bytes::copy_from_slice(body), made }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn what_is_not_the_same_has_another_key() {
    let all = [
        key("acme", &["/v1", "body"]),
        key("globex", &["/v1", "body"]),
        key("acme", &["/v1b", "ody"]),
        key("acme", &["/v1body"]),
        key("acme", &["/v1", "body", ""]),
        key("acme/v1", &["body"]),
        key_after(7, "acme", &["/v1", "body"]),
    ];
    let different: std::collections::BTreeSet<Key> = all.into_iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(all[0], key("acme", &["/v1", "body"]));
}

#[test]
fn an_answer_is_given_until_its_time_is_over_and_then_forgotten() {
    let (cache, key, made) = (Cache::new(1 << 20), key("acme", &[]), Instant::now());
    assert_eq!(cache.get(&key, HOUR, made), None);
    cache.put(key, kept(b"one"), made);
    let at = |seconds| made + Duration::from_secs(seconds);
    let (answer, age) = cache.get(&key, HOUR, at(3_599)).unwrap();
    assert_eq!((&*answer.body, age), (&b"one"[..], Duration::from_secs(3_599)));
    // A later answer takes the place of the first, and its time begins anew.
    cache.put(key, kept(b"two"), at(3_599));
    assert_eq!(&*cache.get(&key, HOUR, at(3_600)).unwrap().0.body, b"two");
    assert_eq!(cache.standing(), (1, 3 + BESIDE));
    assert_eq!(cache.get(&key, HOUR, at(3_599 + 3_600)), None);
    assert_eq!(cache.standing(), (0, 0));
    assert_eq!(cache.get(&key, HOUR, at(3_600)), None, "it is forgotten, whatever is asked next");
}

#[test]
fn what_was_asked_for_least_recently_makes_room() {
    let size = 1_000 + BESIDE;
    let (cache, now) = (Cache::new(3 * size), Instant::now());
    let keys = ["a", "b", "c", "d"].map(|part| key("acme", &[part]));
    let body = vec![b'x'; 1_000];
    for key in &keys[..3] {
        cache.put(*key, kept(&body), now);
    }
    assert!(cache.get(&keys[0], HOUR, now).is_some());
    cache.put(keys[3], kept(&body), now);
    let there = keys.map(|key| cache.get(&key, HOUR, now).is_some());
    assert_eq!(there, [true, false, true, true]);
    assert_eq!(cache.standing(), (3, 3 * size));
    // One that needs the room of several takes it, and one that is larger than all makes none go but its own.
    cache.put(keys[0], kept(&vec![b'x'; 2_000 + BESIDE as usize]), now);
    assert_eq!(cache.standing(), (2, 3 * size));
    cache.put(keys[0], kept(&vec![b'x'; 10_000]), now);
    assert_eq!(cache.standing(), (1, size));
    assert!(cache.get(&keys[0], HOUR, now).is_none());
}
