//! An API server in memory: enough of one for the operator. Objects by path, resource versions,
//! server-side apply as a merge, status as a compare-and-set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};

/// The server; clones share it.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    last_version: u64,
    writes: Vec<String>,
    events: Vec<String>,
    notes: Vec<String>,
    fault: Option<Fault>,
}

/// A write that fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// How many writes succeed before it.
    pub after_writes: usize,
    /// Whether it takes effect all the same, and only the answer is lost.
    pub takes_effect: bool,
}

impl Api {
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect_bytes().await.expect("the body is in memory");
                let uri = head.uri;
                let answer = api.answer(&head.method, uri.path(), uri.query(), &bytes);
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        Client::new(service, "default")
    }

    /// Puts an object there as if it had always been.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.0.lock().expect("no test panics while it holds this");
        let name = path.rsplit('/').next().expect("a path has parts");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("flin");
        state.store(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().expect("no test panics while it holds this").objects.get(path).cloned()
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().expect("no test panics while it holds this").objects.remove(path);
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).expect("it is there");
        change(&mut object);
        self.0.lock().expect("no test panics while it holds this").store(path, object);
    }

    /// The writes since the last call, as `PATCH statefulsets/demo`; events are not among them.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds this").writes)
    }

    /// The reasons of the events since the last call; a repetition counts.
    pub fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds this").events)
    }

    /// The events since the last call in words, as `Normal ScaleUpStarted: from 3 to 5 nodes`.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds this").notes)
    }

    pub fn fail(&self, fault: Option<Fault>) {
        let mut state = self.0.lock().expect("no test panics while it holds this");
        state.writes.clear();
        state.fault = fault;
    }

    fn answer(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Response<Body> {
        let mut state = self.0.lock().expect("no test panics while it holds this");
        let is_event = path.contains("/events");
        let mut answer_is_lost = false;
        if *method != Method::GET && !is_event {
            let writes = state.writes.len();
            if let Some(fault) = state.fault.take_if(|fault| fault.after_writes == writes) {
                if !fault.takes_effect {
                    return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
                }
                answer_is_lost = true;
            }
            let tail: Vec<_> = path.split('/').skip_while(|part| *part != "flin").skip(1).collect();
            let line = format!("{method} {}", tail.join("/"));
            state.writes.push(line);
        }
        let answer = match *method {
            Method::GET => state.read(path, query),
            _ if is_event => state.note_event(&parsed(body)),
            Method::POST => state.create(path, parsed(body)),
            Method::PATCH => state.apply(path, parsed(body)),
            Method::DELETE => state.delete(path, parsed(body)),
            Method::PUT => state.replace_status(path, parsed(body)),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        };
        if answer_is_lost {
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        answer
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.last_version += 1;
        let version = self.last_version;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{version}"));
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn read(&self, path: &str, query: Option<&str>) -> Response<Body> {
        if let Some(object) = self.objects.get(path) {
            return found(object.clone());
        }
        let is_list = ["pods", "persistentvolumeclaims"].iter().any(|all| path.ends_with(all));
        if !is_list {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        let cluster = query.and_then(|query| query.split("cluster%3D").nth(1));
        let items: Vec<_> = self
            .objects
            .range(format!("{path}/")..format!("{path}0"))
            .map(|(_, object)| object.clone())
            .filter(|object| {
                cluster
                    .is_none_or(|wanted| object["metadata"]["labels"]["flin.io/cluster"] == wanted)
            })
            .collect();
        found(json!({"metadata": {"resourceVersion": "1"}, "items": items}))
    }

    fn note_event(&mut self, event: &Value) -> Response<Body> {
        let reason = event["reason"].as_str().unwrap_or("(again)").to_owned();
        let (type_, note) = (event["type"].as_str(), event["note"].as_str());
        let (type_, note) = (type_.unwrap_or_default(), note.unwrap_or_default());
        self.notes.push(format!("{type_} {reason}: {note}"));
        self.events.push(match event["related"]["name"].as_str() {
            Some(node) => format!("{reason} {node}"),
            None => reason,
        });
        created(json!({"metadata": {"name": "event", "namespace": "flin"}}))
    }

    fn create(&mut self, collection: &str, object: Value) -> Response<Body> {
        let name = object["metadata"]["name"].as_str().expect("objects have names");
        let path = format!("{collection}/{name}");
        if self.objects.contains_key(&path) {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        created(self.store(&path, object))
    }

    /// A merge, with a few of the liberties a real server takes.
    fn apply(&mut self, path: &str, wanted: Value) -> Response<Body> {
        let mut object = self.objects.get(path).cloned().unwrap_or_else(|| json!({"status": {}}));
        merge(&mut object, wanted);
        if path.contains("/statefulsets/") {
            object["spec"]["revisionHistoryLimit"] = json!(10);
            let requests = "/spec/template/spec/containers/0/resources/requests/cpu";
            if let Some(cpu) = object.pointer_mut(requests).filter(|cpu| **cpu == "1000m") {
                *cpu = json!("1");
            }
        }
        if self.objects.get(path) == Some(&object) {
            return found(object);
        }
        found(self.store(path, object))
    }

    /// Deletes at once what bears the uid that is meant.
    fn delete(&mut self, path: &str, options: Value) -> Response<Body> {
        let Some(object) = self.objects.get(path) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        if options["preconditions"]["uid"] != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        found(self.objects.remove(path).expect("it was just seen"))
    }

    fn replace_status(&mut self, path: &str, wanted: Value) -> Response<Body> {
        let path = path.strip_suffix("/status").expect("only statuses are replaced");
        let Some(mut object) = self.objects.get(path).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        if object["metadata"]["resourceVersion"] != wanted["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        object["status"] = wanted["status"].clone();
        found(self.store(path, object))
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("the operator sends JSON")
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn found(object: Value) -> Response<Body> {
    respond(StatusCode::OK, object)
}

fn created(object: Value) -> Response<Body> {
    respond(StatusCode::CREATED, object)
}

fn failure(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    });
    respond(code, status)
}

fn respond(code: StatusCode, json: Value) -> Response<Body> {
    let body = Body::from(json.to_string().into_bytes());
    Response::builder().status(code).body(body).expect("the response is well formed")
}
