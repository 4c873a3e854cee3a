//! The table itself: one line for each command, ordered by name.

use super::Flag::{Admin, DenyOom, Fast, Loading, NoAuth, ReadOnly, Write};
use super::Group::{Cluster, Connection, Generic, Server, String};
use super::{Command, Flag, Group, Keys, Scope};

const ONE_KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
const ALL_KEYS: Keys = Keys::Range { first: 1, last: -1, step: 1 };
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

pub(super) const COMMANDS: &[Command] = &[
    command("append", 3, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key value", "Appends to a value, creating it when absent, and answers its new length."),
    command("asking", 1, &[Fast, Loading], Cluster).says("", "Refused: Flin moves partitions without ASK redirections."),
    command("auth", -2, &[Fast, Loading, NoAuth], Connection).says("[username] password", "Authenticates the connection; the only user is `default`."),
    command("client", -2, &[Loading], Connection).says("subcommand", "About this connection and others.").with(CLIENT),
    command("cluster", -2, &[Loading], Cluster).says("subcommand", "The topology, as Redis Cluster describes its own.").with(CLUSTER),
    command("command", -1, &[Loading], Server).says("[subcommand]", "Describes the commands of this table.").with(COMMAND),
    command("config", -2, &[Admin, Loading], Server).says("subcommand", "Settings; they are changed by flags, environment or file, and a restart.").with(CONFIG),
    command("dbsize", 1, &[ReadOnly], Server).over(Keys::None, Scope::Partitions).says("", "Counts the keys; those that are due but not yet removed count too."),
    command("decr", 2, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key", "Subtracts one from a counter; an absent key counts from zero."),
    command("decrby", 3, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key decrement", "Subtracts from a counter."),
    command("del", -2, &[Write], Generic).over(ALL_KEYS, Scope::PartitionEach).says("key [key ...]", "Removes keys and answers how many there were."),
    command("delifeq", 3, &[Write, Fast], String).over(ONE_KEY, Scope::Key).says("key value", "Removes a key if it has exactly this value; answers 1 or 0 (as in Valkey)."),
    command("echo", 2, &[Fast, Loading], Connection).says("message", "Answers its argument."),
    command("exists", -2, &[ReadOnly, Fast], Generic).over(ALL_KEYS, Scope::PartitionEach).says("key [key ...]", "Counts the keys that exist; one named twice counts twice."),
    command("expire", -3, &[Write, Fast], Generic).over(ONE_KEY, Scope::Key).says("key seconds [NX|XX|GT|LT]", "Sets the time to live; zero or less removes the key."),
    command("expireat", -3, &[Write, Fast], Generic).over(ONE_KEY, Scope::Key).says("key unix-seconds [NX|XX|GT|LT]", "Sets the moment of expiry."),
    command("expiretime", 2, &[ReadOnly, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Answers the moment of expiry in Unix seconds; -1 for never, -2 for no such key."),
    command("flushall", -1, &[Write], Server).over(Keys::None, Scope::Cluster).says("[ASYNC|SYNC]", "Removes every key of the cluster."),
    command("flushdb", -1, &[Write], Server).over(Keys::None, Scope::Cluster).says("[ASYNC|SYNC]", "The same as `FLUSHALL`: there is one database."),
    command("get", 2, &[ReadOnly, Fast], String).over(ONE_KEY, Scope::Key).says("key", "Answers a value."),
    command("getdel", 2, &[Write, Fast], String).over(ONE_KEY, Scope::Key).says("key", "Answers a value and removes it."),
    command("getex", -2, &[Write, Fast], String).over(ONE_KEY, Scope::Key).says("key [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|PERSIST]", "Answers a value and changes its time to live."),
    command("getrange", 4, &[ReadOnly], String).over(ONE_KEY, Scope::Key).says("key start end", "Answers a part of a value; negative positions count from its end."),
    command("getset", 3, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key value", "Sets a value and answers the one before (use `SET` with `GET`)."),
    command("hello", -1, &[Fast, Loading, NoAuth], Connection).says("[protover [AUTH username password] [SETNAME name]]", "Chooses RESP2 or RESP3 and answers what this server is."),
    command("incr", 2, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key", "Adds one to a counter; an absent key counts from zero."),
    command("incrby", 3, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key increment", "Adds to a counter."),
    command("info", -1, &[Loading], Server).says("[section ...]", "Describes the node in text."),
    command("mget", -2, &[ReadOnly, Fast], String).over(ALL_KEYS, Scope::PartitionEach).says("key [key ...]", "Answers several values."),
    command("mset", -3, &[Write, DenyOom], String).over(PAIRS, Scope::PartitionEach).says("key value [key value ...]", "Sets several values."),
    command("persist", 2, &[Write, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Makes a key live for ever; answers whether it had an expiry."),
    command("pexpire", -3, &[Write, Fast], Generic).over(ONE_KEY, Scope::Key).says("key ms [NX|XX|GT|LT]", "Sets the time to live in milliseconds; zero or less removes the key."),
    command("pexpireat", -3, &[Write, Fast], Generic).over(ONE_KEY, Scope::Key).says("key unix-ms [NX|XX|GT|LT]", "Sets the moment of expiry in milliseconds."),
    command("pexpiretime", 2, &[ReadOnly, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Answers the moment of expiry in Unix milliseconds; -1 for never, -2 for no such key."),
    command("ping", -1, &[Fast, Loading], Connection).says("[message]", "Answers PONG, or its argument."),
    command("psetex", 4, &[Write, DenyOom], String).over(ONE_KEY, Scope::Key).says("key ms value", "Sets a value with a time to live in milliseconds."),
    command("pttl", 2, &[ReadOnly, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Answers the milliseconds left to live; -1 for ever, -2 for no such key."),
    command("quit", -1, &[Fast, Loading, NoAuth], Connection).says("", "Closes the connection after its replies are sent."),
    command("readonly", 1, &[Fast, Loading], Cluster).says("", "Accepted without effect: every read is linearizable."),
    command("readwrite", 1, &[Fast, Loading], Cluster).says("", "Accepted without effect: every read is linearizable."),
    command("reset", 1, &[Fast, Loading, NoAuth], Connection).says("", "Makes the connection as new: RESP2, unnamed, unauthenticated."),
    command("scan", -2, &[ReadOnly], Generic).over(Keys::None, Scope::Partitions).says("cursor [MATCH pattern] [COUNT count] [TYPE type]", "Walks over all keys; a key that is there all the while is answered at least once."),
    command("select", 2, &[Fast, Loading], Connection).says("index", "Accepts database 0, the only one."),
    command("set", -3, &[Write, DenyOom], String).over(ONE_KEY, Scope::Key).says("key value [NX|XX|IFEQ value] [GET] [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|KEEPTTL]", "Sets a value; `IFEQ` compares and sets (as in Valkey) and goes with no other option."),
    command("setex", 4, &[Write, DenyOom], String).over(ONE_KEY, Scope::Key).says("key seconds value", "Sets a value with a time to live."),
    command("setnx", 3, &[Write, DenyOom, Fast], String).over(ONE_KEY, Scope::Key).says("key value", "Sets a value if the key is absent; answers 1 or 0."),
    command("setrange", 4, &[Write, DenyOom], String).over(ONE_KEY, Scope::Key).says("key offset value", "Overwrites a part of a value, padded with zeros, and answers its length."),
    command("strlen", 2, &[ReadOnly, Fast], String).over(ONE_KEY, Scope::Key).says("key", "Answers the length of a value."),
    command("time", 1, &[Fast, Loading], Server).says("", "Answers the node's clock: Unix seconds and microseconds."),
    command("touch", -2, &[ReadOnly, Fast], Generic).over(ALL_KEYS, Scope::PartitionEach).says("key [key ...]", "The same as `EXISTS`."),
    command("ttl", 2, &[ReadOnly, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Answers the seconds left to live; -1 for ever, -2 for no such key."),
    command("type", 2, &[ReadOnly, Fast], Generic).over(ONE_KEY, Scope::Key).says("key", "Answers the type of a value: string or none."),
    command("unlink", -2, &[Write, Fast], Generic).over(ALL_KEYS, Scope::PartitionEach).says("key [key ...]", "The same as `DEL`."),
];

const CLIENT: &[Command] = &[
    command("getname", 2, &[Loading], Connection).says("", "Answers the name of this connection."),
    command("help", 2, &[Loading], Connection).says("", "Answers the subcommands."),
    command("id", 2, &[Loading], Connection)
        .says("", "Answers the id of this connection; ids are never reused while the node runs."),
    command("info", 2, &[Loading], Connection).says("", "Describes this connection."),
    command("kill", -3, &[Admin, Loading], Connection).says(
        "ID client-id | ADDR ip:port | LADDR ip:port | SKIPME yes|no ...",
        "Closes connections of this port.",
    ),
    command("list", -2, &[Admin, Loading], Connection)
        .says("[ID client-id ...]", "Describes the connections of this port, one line each."),
    command("no-evict", 3, &[Admin, Loading], Connection)
        .says("ON|OFF", "Accepted without effect: connections are never evicted."),
    command("no-touch", 3, &[Loading], Connection)
        .says("ON|OFF", "Accepted without effect: reading a key does not change it."),
    command("setinfo", 4, &[Loading], Connection)
        .says("LIB-NAME name | LIB-VER version", "Names the client library, for `CLIENT LIST`."),
    command("setname", 3, &[Loading], Connection)
        .says("name", "Names this connection, for `CLIENT LIST`."),
];

const CLUSTER: &[Command] = &[
    command("countkeysinslot", 3, &[Loading], Cluster)
        .says("slot", "Refused: keys are not counted by slot; `DBSIZE` counts them all."),
    command("getkeysinslot", 4, &[Loading], Cluster)
        .says("slot count", "Refused: keys are not listed by slot; use `SCAN`."),
    command("help", 2, &[Loading], Cluster).says("", "Answers the subcommands."),
    command("info", 2, &[Loading], Cluster)
        .says("", "Answers the state of the cluster and the number of its nodes and slots."),
    command("keyslot", 3, &[Loading], Cluster).says("key", "Answers the hash slot of a key."),
    command("myid", 2, &[Loading], Cluster)
        .says("", "Answers this node's id as 40 hexadecimal digits."),
    command("nodes", 2, &[Loading], Cluster)
        .says("", "Describes the nodes and the slots they lead, one line each."),
    command("shards", 2, &[Loading], Cluster)
        .says("", "Describes the nodes that lead slots, and which."),
    command("slots", 2, &[Loading], Cluster)
        .says("", "Answers ranges of slots and the node that leads each."),
];

const COMMAND: &[Command] = &[
    command("count", 2, &[Loading], Server).says("", "Answers the number of commands."),
    command("docs", -2, &[Loading], Server)
        .says("[name ...]", "Answers the documentation of commands."),
    command("getkeys", -3, &[Loading], Server)
        .says("command [argument ...]", "Answers which arguments of a command are keys."),
    command("help", 2, &[Loading], Server).says("", "Answers the subcommands."),
    command("info", -2, &[Loading], Server)
        .says("[name ...]", "Answers arity, flags and keys of commands."),
    command("list", -2, &[Loading], Server)
        .says("[FILTERBY PATTERN pattern]", "Answers the names of the commands."),
];

const CONFIG: &[Command] = &[
    command("get", -3, &[Admin, Loading], Server)
        .says("pattern [pattern ...]", "Answers the settings whose names match."),
    command("help", 2, &[Admin, Loading], Server).says("", "Answers the subcommands."),
    command("resetstat", 2, &[Admin, Loading], Server)
        .says("", "Refused: counters never go backwards."),
    command("rewrite", 2, &[Admin, Loading], Server)
        .says("", "Refused: the configuration is written by whoever runs the node."),
    command("set", -4, &[Admin, Loading], Server).says(
        "name value [name value ...]",
        "Refused: settings change by flags, environment or file, and a restart.",
    ),
];

const fn command(name: &'static str, arity: i32, flags: &'static [Flag], group: Group) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: Keys::None,
        scope: Scope::Connection,
        group,
        syntax: "",
        summary: "",
        subcommands: &[],
    }
}

impl Command {
    const fn over(mut self, keys: Keys, scope: Scope) -> Command {
        self.keys = keys;
        self.scope = scope;
        self
    }

    const fn says(mut self, syntax: &'static str, summary: &'static str) -> Command {
        self.syntax = syntax;
        self.summary = summary;
        self
    }

    const fn with(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }
}
