//! Requests made up by chance: few keys, so that they meet, and every mistake that people make.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::Request;

/// Names of keys, among them such as patterns are made of.
pub const KEYS: &[&[u8]] = &[
    b"",
    b"a",
    b"b",
    b"ab",
    b"abc",
    b"{tag}a",
    b"{tag}b",
    b"k\0k",
    b"\xFF\xFE",
    b"[a-c]",
    b"h?llo",
    b"a*b",
    b"\\",
    b"line\r\nbreak",
    b"a name that is a little longer than most and that a hash has to go through in several steps",
];

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"10",
    b"-5",
    b"007",
    b"-0",
    b" 1",
    b"+1",
    b"1.5",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"hello world",
    b"\0\xFF\r\n$5\r\n",
];

/// What people write where a number belongs.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "-1",
    "-2",
    "-100",
    "1000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999",
    "007",
    "-0",
    "+5",
    "1.5",
    "1e3",
    "0x10",
    "abc",
    "",
    " 1",
    "1 ",
];

const OFFSETS: &[&str] = &[
    "0",
    "1",
    "4",
    "30",
    "300",
    "-1",
    "abc",
    "01",
    "16777216",
    "536870912",
    "9223372036854775807",
    "9223372036854775808",
];

/// Times that are none, have passed, or are beyond all that can be counted.
const ODD_TIMES: &[&str] = &[
    "0",
    "-1",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775",
    "abc",
    "",
    "1.5",
    "0100",
];

/// Not `**`: Redis finds every key by it but the one without a name, which is a slip of its matcher.
const PATTERNS: &[&[u8]] = &[
    b"*",
    b"a*",
    b"*b",
    b"?",
    b"??",
    b"[ab]*",
    b"[a-b]?",
    b"[^a]*",
    b"[b-a]*",
    b"[",
    b"[]",
    b"[]*",
    b"[^]*",
    b"[a-",
    b"[a",
    b"\\*",
    b"\\\\",
    b"\\",
    b"a\\*b",
    b"h\\?llo",
    b"\\[a-c]",
    b"[[]*",
    b"[\\]a]*",
    b"{tag}*",
    b"*\0*",
    b"\xFF*",
    b"[\x80-\xFF]*",
    b"line*",
    b"*a*b*",
    b"",
    b"h[?]llo",
    b"a**b",
    b"[^a-z]*",
];

/// What is done next.
pub enum Step {
    /// These requests, sent at once.
    Batch(Vec<Request>),
    /// A request about its first argument, which may have a few milliseconds to live from then on.
    ShortLife(Request),
    /// A walk with SCAN and these options.
    Walk(Vec<Bytes>),
    /// DBSIZE.
    Count,
}

/// Makes up requests.
pub struct Requests {
    pub chance: StdRng,
    lives: i64,
}

pub fn request(words: &[&str]) -> Request {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

impl Requests {
    pub fn new(seed: u64) -> Self {
        Requests { chance: StdRng::seed_from_u64(seed), lives: 0 }
    }

    pub fn step(&mut self) -> Step {
        match self.chance.random_range(0..100) {
            0..3 => Step::ShortLife(self.short_life()),
            3..7 => Step::Walk(self.walk()),
            7 => Step::Count,
            _ => {
                let length = self.chance.random_range(1..=16);
                Step::Batch((0..length).map(|_| self.any()).collect())
            }
        }
    }

    /// A request, sometimes with a mistake in it.
    fn any(&mut self) -> Request {
        let mut request = match self.chance.random_range(0..100) {
            0..55 => self.about_values(),
            55..90 => self.about_keys(),
            90 => return self.about_all_keys(),
            _ => return self.about_nothing(),
        };
        match self.chance.random_range(0..60) {
            0 if request.len() > 1 => drop(request.pop()),
            1 => request.push(self.value()),
            2 => {
                let last = request[request.len() - 1].clone();
                request.push(last);
            }
            3 => request[0] = request[0].to_ascii_lowercase().into(),
            _ => {}
        }
        request
    }

    fn about_values(&mut self) -> Request {
        let (key, value) = (self.key(), self.value());
        match self.chance.random_range(0..32) {
            0..7 => {
                let mut request = vec![Bytes::from("SET"), key, value];
                for _ in 0..self.options() {
                    request.extend(self.set_option());
                }
                request
            }
            7..10 => vec!["GET".into(), key],
            10 => vec!["GETDEL".into(), key],
            11 | 12 => {
                let mut request = vec![Bytes::from("GETEX"), key];
                for _ in 0..self.options() {
                    request.extend(self.getex_option());
                }
                request
            }
            13 => vec!["GETRANGE".into(), key, self.number(), self.number()],
            14 => vec!["GETSET".into(), key, value],
            15 => vec!["INCR".into(), key],
            16 => vec!["DECR".into(), key],
            17 | 18 => vec!["INCRBY".into(), key, self.number()],
            19 => vec!["DECRBY".into(), key, self.number()],
            20 | 21 => vec!["APPEND".into(), key, value],
            22 | 23 => vec!["SETRANGE".into(), key, self.choice(OFFSETS), value],
            24 => vec!["STRLEN".into(), key],
            25 => vec!["SETNX".into(), key, value],
            26 => vec!["SETEX".into(), key, self.life_s(), value],
            27 => vec!["PSETEX".into(), key, self.life_ms(), value],
            28 | 29 => self.several("MGET"),
            _ => {
                let mut request = vec![Bytes::from("MSET")];
                for _ in 0..self.chance.random_range(1..5) {
                    request.extend([self.key(), self.value()]);
                }
                request
            }
        }
    }

    fn about_keys(&mut self) -> Request {
        let key = self.key();
        match self.chance.random_range(0..25) {
            0 | 1 => self.several("DEL"),
            2 => self.several("UNLINK"),
            3 | 4 => self.several("EXISTS"),
            5 => self.several("TOUCH"),
            6 => vec!["TYPE".into(), key],
            7 | 8 => vec!["TTL".into(), key],
            9 | 10 => vec!["PTTL".into(), key],
            11 => vec!["EXPIRETIME".into(), key],
            12 => vec!["PEXPIRETIME".into(), key],
            13 | 14 => vec!["PERSIST".into(), key],
            15..18 => self.expire("EXPIRE", Self::life_s),
            18..20 => self.expire("PEXPIRE", Self::life_ms),
            20..23 => self.expire("EXPIREAT", Self::moment_s),
            _ => self.expire("PEXPIREAT", Self::moment_ms),
        }
    }

    /// What answers every key is left to the walks.
    fn about_all_keys(&mut self) -> Request {
        const FIXED: &[&[&str]] = &[
            &["FLUSHALL"],
            &["FLUSHDB", "async"],
            &["flushall", "SYNC"],
            &["FLUSHALL", "now"],
            &["FLUSHDB", "SYNC", "SYNC"],
            &["SCAN"],
            &["SCAN", "abc"],
            &["SCAN", ""],
            &["SCAN", "0", "COUNT", "0"],
            &["SCAN", "0", "COUNT", "-1"],
            &["SCAN", "0", "COUNT", "abc"],
            &["SCAN", "0", "MATCH"],
            &["SCAN", "0", "FROB", "a"],
            &["DBSIZE", "a"],
        ];
        request(FIXED.choose(&mut self.chance).expect("there are some"))
    }

    fn about_nothing(&mut self) -> Request {
        /// Longer than anything that is repeated in an error.
        const LONG: &str = "nonsense-nonsense-nonsense-nonsense-nonsense-nonsense-nonsense-nonsense-\
                            nonsense-nonsense-nonsense-nonsense-nonsense-nonsense-nonsense-nonsense";
        const FIXED: &[&[&str]] = &[
            &["PING"],
            &["PING", ""],
            &["PING", "a", "b"],
            &["SELECT", "0"],
            &["SELECT", "1"],
            &["SELECT", "-1"],
            &["SELECT", "abc"],
            &["NONSENSE"],
            &["NONSENSE", "a", "b c", "d\r\ne"],
            &["NONSENSE", "a\0b", "c"],
            &["NONSENSE", LONG, "a"],
            &["NONSENSE", "a", "b", LONG],
            &[LONG, "a"],
            &["CLIENT", LONG],
            &["", "a"],
            &["CLIENT"],
            &["CLIENT", "NONSENSE"],
            &["CLIENT", "GETNAME"],
            &["CLIENT", "GETNAME", "a"],
            &["CLIENT", "SETNAME", "me"],
            &["CLIENT", "SETNAME", ""],
            &["CLIENT", "SETNAME", "a b"],
            &["CLIENT", "SETNAME", "a\nb"],
            &["CLIENT", "NO-EVICT", "ON"],
            &["CLIENT", "NO-EVICT", "maybe"],
            &["CLIENT", "LIST", "ID", "abc"],
            &["CLIENT", "LIST", "FROB"],
            &["CLIENT", "KILL", "ID", "abc"],
            &["CLIENT", "KILL", "ID", "987654321"],
            &["CLIENT", "KILL", "FROB", "a"],
            &["AUTH", "password"],
            &["AUTH", "default", "password"],
            &["AUTH", "somebody", "password"],
            &["AUTH", "a", "b", "c"],
            &["HELLO", "4"],
            &["HELLO", "abc"],
            &["HELLO", "3", "FROB"],
            &["HELLO", "2", "SETNAME", "a b"],
            &["HELLO", "2", "AUTH", "somebody", "password"],
            &["COMMAND", "GETKEYS", "SET", "a", "b"],
            &["COMMAND", "GETKEYS", "mset", "a", "1", "b", "2"],
            &["COMMAND", "GETKEYS", "MGET", "a", "b", "c"],
            &["COMMAND", "GETKEYS", "GET"],
            &["COMMAND", "GETKEYS", "PING"],
            &["COMMAND", "GETKEYS", "NONSENSE", "a"],
            &["COMMAND", "NONSENSE"],
            &["CONFIG", "NONSENSE"],
            &["CONFIG", "GET"],
        ];
        match self.chance.random_range(0..8) {
            0 => vec!["ECHO".into(), self.value()],
            1 => vec!["PING".into(), self.value()],
            _ => request(FIXED.choose(&mut self.chance).expect("there are some")),
        }
    }

    fn expire(&mut self, name: &'static str, time: fn(&mut Self) -> Bytes) -> Request {
        let mut request = vec![name.into(), self.key(), time(self)];
        for _ in 0..self.options() {
            request.push(self.choice(&["NX", "XX", "GT", "LT", "gt", "lt", "xx", "ZZ"]));
        }
        request
    }

    fn short_life(&mut self) -> Request {
        let (key, value) = (self.key(), self.value());
        let ms: Bytes = self.chance.random_range(1..30).to_string().into();
        match self.chance.random_range(0..5) {
            0 => vec!["SET".into(), key, value, "PX".into(), ms],
            1 => vec!["SET".into(), key, value, "XX".into(), "PX".into(), ms, "GET".into()],
            2 => vec!["PSETEX".into(), key, ms, value],
            3 => vec!["PEXPIRE".into(), key, ms],
            _ => vec!["GETEX".into(), key, "px".into(), ms],
        }
    }

    fn walk(&mut self) -> Vec<Bytes> {
        let mut options = Vec::new();
        if self.chance.random_bool(0.8) {
            let pattern = PATTERNS.choose(&mut self.chance).expect("there are some");
            options.extend([Bytes::from("MATCH"), Bytes::from_static(pattern)]);
        }
        if self.chance.random_bool(0.5) {
            options
                .extend(["COUNT".into(), self.choice(&["1", "2", "1000", "9223372036854775807"])]);
        }
        if self.chance.random_bool(0.2) {
            options.extend(["TYPE".into(), self.choice(&["string", "STRING", "hash", "nonsense"])]);
        }
        options
    }

    fn several(&mut self, name: &'static str) -> Request {
        let count = self.chance.random_range(1..6);
        let keys = (0..count).map(|_| self.key());
        std::iter::once(Bytes::from(name)).chain(keys).collect()
    }

    fn set_option(&mut self) -> Vec<Bytes> {
        match self.chance.random_range(0..9) {
            0 => vec!["NX".into()],
            1 => vec!["XX".into()],
            2 => vec!["GET".into()],
            3 => vec!["KEEPTTL".into()],
            4 => vec!["ex".into(), self.life_s()],
            5 => vec!["PX".into(), self.life_ms()],
            6 => vec!["EXAT".into(), self.moment_s()],
            7 => vec!["pxat".into(), self.moment_ms()],
            _ => vec![self.choice(&["FROB", "EX", "PERSIST", "", "NXX"])],
        }
    }

    fn getex_option(&mut self) -> Vec<Bytes> {
        match self.chance.random_range(0..6) {
            0 => vec!["PERSIST".into()],
            1 => vec!["EX".into(), self.life_s()],
            2 => vec!["px".into(), self.life_ms()],
            3 => vec!["EXAT".into(), self.moment_s()],
            4 => vec!["PXAT".into(), self.moment_ms()],
            _ => vec![self.choice(&["FROB", "EX", "KEEPTTL", "NX"])],
        }
    }

    /// How many options: mostly none or one.
    fn options(&mut self) -> usize {
        [0, 0, 0, 1, 1, 1, 2, 3][self.chance.random_range(0..8)]
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(KEYS.choose(&mut self.chance).expect("there are some"))
    }

    fn value(&mut self) -> Bytes {
        match self.chance.random_range(0..24) {
            0 => Bytes::from(vec![b'v'; self.chance.random_range(0..3_000)]),
            _ => Bytes::from_static(VALUES.choose(&mut self.chance).expect("there are some")),
        }
    }

    fn number(&mut self) -> Bytes {
        self.choice(NUMBERS)
    }

    fn choice(&mut self, words: &[&'static str]) -> Bytes {
        Bytes::from_static(words.choose(&mut self.chance).expect("there are some").as_bytes())
    }

    /// Seconds to live, far apart from all others of this contest and from its end, so that the two clocks
    /// order them alike.
    fn far_s(&mut self) -> i64 {
        const STEPS: i64 = 10_007;
        self.lives += 1;
        // The prime leads through all steps before one comes again.
        (1 + self.lives * 7_919 % STEPS) * 1_000
    }

    fn time(&mut self, usual: impl FnOnce(&mut Self) -> i64) -> Bytes {
        if self.chance.random_range(0..6) == 0 {
            return self.choice(ODD_TIMES);
        }
        usual(self).to_string().into()
    }

    fn life_s(&mut self) -> Bytes {
        self.time(Self::far_s)
    }

    fn life_ms(&mut self) -> Bytes {
        self.time(|it| it.far_s() * 1_000)
    }

    fn moment_s(&mut self) -> Bytes {
        self.time(|it| 4_000_000_000 + it.far_s())
    }

    fn moment_ms(&mut self) -> Bytes {
        self.time(|it| (4_000_000_000 + it.far_s()) * 1_000)
    }
}
