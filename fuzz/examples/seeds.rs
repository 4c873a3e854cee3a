//! Writes first inputs for the targets, made by the real encoders, into a folder: `seeds <folder>`.
//!
//! What is in `corpus/` grew from these. After a format has changed, make them anew and let the fuzzer go on.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use flin_fuzz::raft::{RaftEntry, RaftMessage, configuration_change, kind};
use flin_resp::{Protocol, Value};
use flin_state::cluster::{Change, Genesis, GenesisMember, Move, Placement, RebalanceSettings};
use flin_state::command::Command;
use flin_state::ids::{ClusterId, GroupId, LogIndex, NodeId, ReplicaId, Term, Timestamp};
use flin_state::keys::{EngineKey, GroupState, Record};
use flin_state::membership::Configuration;
use flin_state::operation::{
    Condition, ExpireCondition, Expiry, KeyPage, Moment, PairPage, Read, Refusal, Reply, TtlUnit,
    ValueType, Write,
};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    let seeds = [
        ("bootstrap", vec![BOOTSTRAP.to_vec()]),
        ("change", changes()),
        ("cluster", chance(12)),
        ("command", commands()),
        ("flincluster", FLINCLUSTERS.iter().map(|cluster| cluster.to_vec()).collect()),
        ("history", vec![HISTORY.to_vec()]),
        ("key", keys()),
        ("log", chance(12)),
        ("message", messages()),
        ("partition", chance(12)),
        ("pattern", PATTERNS.iter().map(|pattern| pattern.to_vec()).collect()),
        ("replica", chance(24)),
        ("reply", replies()),
        ("request", REQUESTS.iter().map(|request| [&[2, 3], *request].concat()).collect()),
        ("segment", chance(24)),
        ("settings", SETTINGS.iter().map(|settings| settings.to_vec()).collect()),
    ];
    for (target, seeds) in seeds {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

const BOOTSTRAP: &[u8] = br#"{"clusterId":"00000000-0000-0000-0000-000000c0ffee","partitions":4,
"replicationFactor":3,"phase":"Forming","members":[
{"name":"n1","nodeId":1,"peerAddress":"n1:6383","clientAddress":"n1:6384","zone":"a"},
{"name":"n2","nodeId":2,"peerAddress":"n2:6383","clientAddress":"n2:6384","zone":""},
{"name":"n3","nodeId":3,"peerAddress":"n3:6383","clientAddress":"n3:6384"}]}"#;

const FLINCLUSTERS: [&[u8]; 6] = [
    b"\0{\"storage\":{\"size\":\"2Gi\"}}",
    b"\0{\"replicas\":5,\"replicationFactor\":3,\"partitions\":8,\"image\":\"flin-node:1\",\"adopt\":true,\
\"storage\":{\"size\":\"1.5Gi\",\"storageClassName\":\"fast\",\"retain\":\"Delete\",\"onScaleDown\":\"Retain\"},\
\"resources\":{\"requests\":{\"cpu\":1,\"memory\":\"256Mi\"},\"limits\":{}},\
\"service\":{\"type\":\"NodePort\",\"nodePorts\":{\"resp\":30380},\"annotations\":{\"a\":\"b\"}},\
\"auth\":{\"secretName\":\"own\"},\"config\":{\"logLevel\":\"warn\",\"maxConnections\":7},\
\"scheduling\":{\"nodeSelector\":{\"a\":\"b\"},\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"}],\
\"priorityClassName\":\"high\",\"imagePullSecrets\":[\"a\"]},\
\"rebalance\":{\"paused\":true,\"maxMoves\":2,\"bytesPerSecond\":\"64Ki\",\"replaceAfterSeconds\":0}}",
    b"\x011.25Gi",
    b"\x01999999999999999999999999999999Pi",
    b"\x02demo/demo-12",
    b"\x02demo/data-demo-0",
];

const HISTORY: &[u8] = br#"{"write":"k","value":"1","from":120,"to":310,"outcome":"acknowledged"}
{"write":"k","value":null,"from":400,"to":5400,"outcome":"maybe"}
{"write":"k","value":"2","from":400,"to":500,"outcome":"failed"}

{"read":"k","value":"1","from":900,"to":910}
{"read":"k","value":null,"from":920,"to":930}
{"read":"k","value":"2","from":940,"to":950}
"#;

const PATTERNS: [&[u8]; 6] = [
    b"\x01*any",
    b"\x06h[^a-e]?hallo",
    b"\x05[a-\\]b",
    b"\x05*a*b*xxayyb",
    b"\x03[]a]",
    b"\x01\\\\",
];

const REQUESTS: [&[u8]; 7] = [
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
    b"PING \"a\\x00\\n\" 'it\\'s'\r\n\r\n*0\r\n*-1\r\nGET a\n",
    b"*2\r\n$4\r\nMGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
    b"*5\r\n$4\r\nmset\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
    b"*1\r\n$-1\r\n",
    b"*100000\r\n$0\r\n\r\n",
    b"CLIENT \"a",
];

const SETTINGS: [&[u8]; 5] = [
    b"node_name = \"demo-0\"\ntick_ms = 20\nlog_segment_bytes = \"8MiB\"\nallow_no_auth = true\n",
    b"node_name = 'a \"b\"'\nlog_level = 'info,flin_node=debug'\nlog_format = 'json'\nzone = ''\n\0--tick-ms\x0030",
    b"resp_address = '127.0.0.1:7000'\njoin_address = 'demo-nodes:6383'\n\0FLIN_NODE_NAME=n1\0FLIN_SERVICE_HOST=x",
    b"tick-ms = 20\n\0FLIN_DATADIR=/x\0--allow-no-auth",
    b"node_name = 'n'\nlog_budget_bytes = 1_000\nelection_ticks = 2\nheartbeat_ticks = 2\n[tick_ms]\nvalue = 1.5",
];

/// Bytes that decide something at every turn.
fn chance(count: u64) -> Vec<Vec<u8>> {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    (0..count).map(|n| (0..64 + n * 32).map(|_| next()).collect()).collect()
}

fn key(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

fn writes() -> Vec<Write> {
    let (a, b) = (key("a"), key("b"));
    vec![
        Write::set("a", "1"),
        Write::Set {
            key: a.clone(),
            value: b.clone(),
            expiry: Expiry::In(5_000),
            condition: Condition::IfAbsent,
            return_old: true,
        },
        Write::SetMany { pairs: vec![(a.clone(), b.clone()), (b.clone(), a.clone())] },
        Write::GetDel { key: a.clone() },
        Write::GetEx { key: a.clone(), expiry: Expiry::At(1 << 40) },
        Write::Delete { keys: vec![a.clone(), b.clone()] },
        Write::Increment { key: a.clone(), by: -300 },
        Write::Append { key: a.clone(), value: b.clone() },
        Write::SetRange { key: a.clone(), offset: 3, value: b.clone() },
        Write::Expire { key: a.clone(), at: Moment::In(1), condition: ExpireCondition::XxLt },
        Write::Persist { key: a.clone() },
        Write::CompareAndSet { key: a.clone(), expected: None, value: Some(b.clone()) },
        Write::Atomic(vec![Write::Flush, Write::Persist { key: b }]),
        Write::ExpireDue { limit: 300 },
    ]
}

fn commands() -> Vec<Vec<u8>> {
    let (a, b) = (key("a"), key("b"));
    let reads = [
        Read::Get { key: a.clone() },
        Read::GetWithTtl { key: a.clone() },
        Read::GetMany { keys: vec![a.clone(), b.clone()] },
        Read::Exists { keys: vec![a.clone()] },
        Read::Length { key: a.clone() },
        Read::GetRange { key: a.clone(), start: -3, end: 70 },
        Read::Ttl { key: a.clone(), unit: TtlUnit::Milliseconds, absolute: true },
        Read::Type { key: a.clone() },
        Read::Count,
        Read::ScanByHash { position: 1 << 40, count: 10, pattern: Some(key("a*")) },
        Read::ScanRange { from: a.clone(), to: Some(b.clone()), limit: 300 },
    ];
    let replies = [
        Reply::Ok,
        Reply::Nil,
        Reply::Int(-300),
        Reply::Bytes(a.clone()),
        Reply::Array(vec![Reply::Array(vec![Reply::Ok]), Reply::Type(ValueType::String)]),
        Reply::Keys(KeyPage { keys: vec![a.clone(), b.clone()], next: Some(1 << 40) }),
        Reply::Pairs(PairPage { pairs: vec![(a.clone(), b.clone())], next: Some(b) }),
        Reply::Refused(Refusal::Overflow),
    ];
    let command = Command { stamp: Timestamp(1 << 40), writes: writes() };
    vec![
        [&[0][..], &command.encode()].concat(),
        [&[1][..], &Write::encode_all(&writes())].concat(),
        [&[2][..], &Read::encode_all(&reads)].concat(),
        [&[3][..], &Reply::encode_all(&replies)].concat(),
    ]
}

fn keys() -> Vec<Vec<u8>> {
    let group = GroupId(7);
    let user = b"user";
    let mut seeds: Vec<Vec<u8>> = [
        EngineKey::Cluster,
        EngineKey::Data(user),
        EngineKey::Hash(1 << 40, user),
        EngineKey::Meta,
        EngineKey::Expiry(Timestamp(1 << 40), user),
    ]
    .iter()
    .map(|key| [&[0][..], &key.to_bytes(group)].concat())
    .collect();
    seeds.push(b"\x01\x01\x02\x07\x03abc\x01\x02\x07\x04abcd".to_vec());
    for expires in [None, Some(Timestamp(1 << 40))] {
        let mut record = vec![2];
        Record { expires, value: key("value") }.write(&mut record);
        seeds.push(record);
    }
    let members = [1, 2, 300].map(|id| (ReplicaId(id), NodeId(id)));
    let state = GroupState {
        applied: LogIndex(300),
        applied_term: Term(6),
        configuration: Configuration::of_voters(members),
        last_time: Timestamp(1 << 40),
        keys: 70_000,
    };
    seeds.push([&[3][..], &state.encode()].concat());
    seeds.push(b"\x04\x3F\0\0\0\0\0\0\0user:{42}:name".to_vec());
    seeds
}

fn changes() -> Vec<Vec<u8>> {
    let member = |id: u64| GenesisMember {
        name: format!("n{id}"),
        node_id: NodeId(id),
        peer_address: format!("n{id}:6383"),
        client_address: format!("n{id}:6384"),
        zone: "a".to_owned(),
    };
    let genesis = Genesis {
        cluster_id: ClusterId(7),
        partitions: 2,
        replication_factor: 3,
        members: (1..4).map(member).collect(),
    };
    let state = genesis.begin().expect("a genesis within the rules");
    let (node, group, replica) = (NodeId(4), GroupId(1), ReplicaId(4));
    let placed = Placement { replica, node: NodeId(1) };
    let begun = Move { group, add: Some(node), remove: Some(replica) };
    let changes = [
        Change::Form { genesis },
        Change::ConfirmFormed { cluster_id: ClusterId(7) },
        Change::DescribeMember {
            node: NodeId(1),
            peer_address: "a:1".to_owned(),
            client_address: "b:2".to_owned(),
            zone: "b".to_owned(),
        },
        Change::Join {
            nonce: "00000000-0000-0000-0000-000000000004".to_owned(),
            name: "n4".to_owned(),
            peer_address: "n4:6383".to_owned(),
            client_address: "n4:6384".to_owned(),
            zone: String::new(),
        },
        Change::StartMoves { based_on: 4, moves: vec![begun] },
        Change::UndoMove { group, job: 1 },
        Change::FinishMove { group, job: 1, undone: false, bytes: 10 },
        Change::AdoptVoters { group, voters: vec![placed] },
        Change::PreferLeaders { based_on: 6, leaders: [(group, replica)].into() },
        Change::SetDraining { nodes: [NodeId(1)].into() },
        Change::SetLost { node, lost: true },
        Change::AcceptLoss { gone: [node].into(), empty: [(group, NodeId(1))].into() },
        Change::RemoveMember { node },
        Change::SetReplicationFactor { replication_factor: 1 },
        Change::SetRebalance { settings: RebalanceSettings::default() },
    ];
    let lines: Vec<_> = changes.iter().map(|change| change.encode().slice(1..)).collect();
    let mut seeds: Vec<Vec<u8>> =
        changes.iter().map(|change| [&[0][..], &change.encode()].concat()).collect();
    seeds.push([&[1][..], &state.to_json()].concat());
    seeds.push([&[2][..], &lines.join(&b"\n"[..])].concat());
    seeds
}

fn messages() -> Vec<Vec<u8>> {
    let data = configuration_change(
        0,
        &[(2, 7)],
        &[[1, 1].as_slice(), &[0; 7], &[7], &[0; 7], &[4]].concat(),
    );
    let entry = RaftEntry { kind: 2, term: 6, index: 8, data: data.clone() };
    let configuration = Configuration::of_voters([(ReplicaId(1), NodeId(1))]);
    let configuration = serde_json::to_vec(&configuration).expect("sets of numbers become JSON");
    let snapshot = Some((9, 6, configuration.clone()));
    let mut seeds = vec![[&[1], &data[..]].concat()];
    for kind in 0..kind::COUNT as u8 {
        let message = RaftMessage { kind, from: 1, to: 2, term: 6, ..RaftMessage::default() };
        let message = match kind {
            kind::APPEND => RaftMessage { entries: vec![entry.clone()], index: 7, ..message },
            kind::SNAPSHOT => RaftMessage { snapshot: snapshot.clone(), ..message },
            _ => message,
        };
        seeds.push([&[0][..], &message.seal(GroupId(1)).bytes].concat());
    }
    // Index 9 and term 6 as small numbers of the input, then the term of the message.
    seeds.push([&[2, 9, 6, 6], &configuration[..]].concat());
    seeds
}

fn replies() -> Vec<Vec<u8>> {
    let values = [
        Value::OK,
        Value::error("ERR no"),
        Value::Integer(-7),
        Value::text("bulk"),
        Value::Null,
        Value::Array(vec![Value::Set(vec![Value::Null]), Value::Push(vec![Value::OK])]),
        Value::Map(vec![(Value::text("a"), Value::Boolean(true))]),
        Value::Double(-1.5e300),
        Value::Double(f64::NEG_INFINITY),
        Value::Verbatim("text".into()),
    ];
    let mut seeds = Vec::new();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut wire = BytesMut::from(&[0, 3][..]);
        values.iter().for_each(|value| value.encode(protocol, &mut wire));
        seeds.push(wire.to_vec());
    }
    seeds.push(b"\0\0*-1\r\n,nan\r\n=5\r\nmkd:a\r\n+a\rb\r\n".to_vec());
    seeds
}
