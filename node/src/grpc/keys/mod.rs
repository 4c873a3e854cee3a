//! Keys over gRPC: every call becomes operations of partitions, wherever they are led.

mod batch;
mod convert;
mod scan;
mod spread;

use flin_groups::requests::Requests;
use flin_proto::keys::keys_server::Keys;
use flin_proto::keys::{
    BatchRequest, BatchResponse, CompareAndSetRequest, CompareAndSetResponse, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, IncrementRequest, IncrementResponse, ScanRequest,
    ScanResponse, SetRequest, SetResponse,
};
use flin_state::operation::{Read, Reply, Write};
use flin_state::slot::partition_of_key;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// The most writes of a batch, the keys of its deletions counted one by one, and the most keys of a
/// deletion.
const WRITES_MAX: usize = 10_000;

/// Scans that a node answers at a time; each holds a page of several partitions in memory.
const SCANS_MAX: usize = 8;

/// `flin.v1.Keys` over [`Requests`].
pub(super) struct KeysService<R> {
    requests: R,
    scans: Semaphore,
}

impl<R: Requests> KeysService<R> {
    pub(super) fn new(requests: R) -> Self {
        KeysService { requests, scans: Semaphore::new(SCANS_MAX) }
    }

    /// How many partitions there are, once clients are served.
    fn partitions(&self) -> Result<u16, Status> {
        let view = self.requests.view();
        view.serving.clone().map_err(Status::unavailable)?;
        let cluster = view.cluster.as_ref();
        let cluster = cluster.ok_or_else(|| Status::unavailable("the cluster is not known yet"))?;
        Ok(cluster.partitions)
    }

    /// One write to the partition of `key`.
    async fn write(&self, key: &[u8], write: Write) -> Result<Reply, Status> {
        write.check().map_err(convert::refusal)?;
        let partition = partition_of_key(key, self.partitions()?);
        let replies = self.requests.write(partition, vec![write]).await;
        convert::only(replies.map_err(convert::failure)?)
    }

    /// One read of the partition of `key`.
    async fn read(&self, key: &[u8], read: Read) -> Result<Reply, Status> {
        read.check().map_err(convert::refusal)?;
        let partition = partition_of_key(key, self.partitions()?);
        let replies = self.requests.read(partition, vec![read]).await;
        convert::only(replies.map_err(convert::failure)?)
    }
}

#[tonic::async_trait]
impl<R: Requests> Keys for KeysService<R> {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let GetRequest { key } = request.into_inner();
        let reply = self.read(&key.clone(), Read::GetWithTtl { key }).await?;
        convert::found(reply).map(Response::new)
    }

    async fn set(&self, request: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        let request = request.into_inner();
        let key = request.key.clone();
        let reply = self.write(&key, convert::set(request)?).await?;
        Ok(Response::new(SetResponse { applied: convert::applied(&reply)? }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let deleted = self.delete_all(request.into_inner().keys).await?;
        Ok(Response::new(DeleteResponse { deleted }))
    }

    async fn increment(
        &self,
        request: Request<IncrementRequest>,
    ) -> Result<Response<IncrementResponse>, Status> {
        let IncrementRequest { key, by } = request.into_inner();
        let reply = self.write(&key.clone(), Write::Increment { key, by }).await?;
        Ok(Response::new(IncrementResponse { value: convert::number(&reply)? }))
    }

    async fn compare_and_set(
        &self,
        request: Request<CompareAndSetRequest>,
    ) -> Result<Response<CompareAndSetResponse>, Status> {
        let CompareAndSetRequest { key, expected, value } = request.into_inner();
        let write = Write::CompareAndSet { key: key.clone(), expected, value };
        let (applied, current) = match self.write(&key, write).await? {
            Reply::Ok => (true, None),
            Reply::Nil => (false, None),
            Reply::Bytes(current) => (false, Some(current)),
            reply => return Err(convert::unexpected(&reply)),
        };
        Ok(Response::new(CompareAndSetResponse { applied, current }))
    }

    async fn batch(
        &self,
        request: Request<BatchRequest>,
    ) -> Result<Response<BatchResponse>, Status> {
        let results = self.write_all(request.into_inner().writes).await?;
        Ok(Response::new(BatchResponse { results }))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        let range = scan::Range::of(request.into_inner())?;
        let partitions = self.partitions()?;
        let _place = self.scans.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{SCANS_MAX} scans are under way here, try later"))
        })?;
        scan::page(&self.requests, partitions, range).await.map(Response::new)
    }
}
