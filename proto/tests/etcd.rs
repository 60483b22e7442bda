//! §1.2, §1.3: what is compiled is etcd's interface, to the number. Clients know messages by the numbers of their
//! fields, JSON knows them by their names, and calls are known by package, service and method.
#![allow(clippy::unwrap_used, reason = "a step that fails ends its test")]

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::Type,
};

const PACKAGES: [&str; 5] = ["mvccpb", "authpb", "etcdserverpb", "v3lockpb", "v3electionpb"];

const SERVICES: &str = "
etcdserverpb.KV/Range: RangeRequest -> RangeResponse
etcdserverpb.KV/RangeStream: RangeRequest -> stream RangeStreamResponse
etcdserverpb.KV/Put: PutRequest -> PutResponse
etcdserverpb.KV/DeleteRange: DeleteRangeRequest -> DeleteRangeResponse
etcdserverpb.KV/Txn: TxnRequest -> TxnResponse
etcdserverpb.KV/Compact: CompactionRequest -> CompactionResponse
etcdserverpb.Watch/Watch: stream WatchRequest -> stream WatchResponse
etcdserverpb.Lease/LeaseGrant: LeaseGrantRequest -> LeaseGrantResponse
etcdserverpb.Lease/LeaseRevoke: LeaseRevokeRequest -> LeaseRevokeResponse
etcdserverpb.Lease/LeaseKeepAlive: stream LeaseKeepAliveRequest -> stream LeaseKeepAliveResponse
etcdserverpb.Lease/LeaseTimeToLive: LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse
etcdserverpb.Lease/LeaseLeases: LeaseLeasesRequest -> LeaseLeasesResponse
etcdserverpb.Cluster/MemberAdd: MemberAddRequest -> MemberAddResponse
etcdserverpb.Cluster/MemberRemove: MemberRemoveRequest -> MemberRemoveResponse
etcdserverpb.Cluster/MemberUpdate: MemberUpdateRequest -> MemberUpdateResponse
etcdserverpb.Cluster/MemberList: MemberListRequest -> MemberListResponse
etcdserverpb.Cluster/MemberPromote: MemberPromoteRequest -> MemberPromoteResponse
etcdserverpb.Maintenance/Alarm: AlarmRequest -> AlarmResponse
etcdserverpb.Maintenance/Status: StatusRequest -> StatusResponse
etcdserverpb.Maintenance/Defragment: DefragmentRequest -> DefragmentResponse
etcdserverpb.Maintenance/Hash: HashRequest -> HashResponse
etcdserverpb.Maintenance/HashKV: HashKVRequest -> HashKVResponse
etcdserverpb.Maintenance/Snapshot: SnapshotRequest -> stream SnapshotResponse
etcdserverpb.Maintenance/MoveLeader: MoveLeaderRequest -> MoveLeaderResponse
etcdserverpb.Maintenance/Downgrade: DowngradeRequest -> DowngradeResponse
etcdserverpb.Auth/AuthEnable: AuthEnableRequest -> AuthEnableResponse
etcdserverpb.Auth/AuthDisable: AuthDisableRequest -> AuthDisableResponse
etcdserverpb.Auth/AuthStatus: AuthStatusRequest -> AuthStatusResponse
etcdserverpb.Auth/Authenticate: AuthenticateRequest -> AuthenticateResponse
etcdserverpb.Auth/UserAdd: AuthUserAddRequest -> AuthUserAddResponse
etcdserverpb.Auth/UserGet: AuthUserGetRequest -> AuthUserGetResponse
etcdserverpb.Auth/UserList: AuthUserListRequest -> AuthUserListResponse
etcdserverpb.Auth/UserDelete: AuthUserDeleteRequest -> AuthUserDeleteResponse
etcdserverpb.Auth/UserChangePassword: AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse
etcdserverpb.Auth/UserGrantRole: AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse
etcdserverpb.Auth/UserRevokeRole: AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse
etcdserverpb.Auth/RoleAdd: AuthRoleAddRequest -> AuthRoleAddResponse
etcdserverpb.Auth/RoleGet: AuthRoleGetRequest -> AuthRoleGetResponse
etcdserverpb.Auth/RoleList: AuthRoleListRequest -> AuthRoleListResponse
etcdserverpb.Auth/RoleDelete: AuthRoleDeleteRequest -> AuthRoleDeleteResponse
etcdserverpb.Auth/RoleGrantPermission: AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse
etcdserverpb.Auth/RoleRevokePermission: AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse
v3lockpb.Lock/Lock: LockRequest -> LockResponse
v3lockpb.Lock/Unlock: UnlockRequest -> UnlockResponse
v3electionpb.Election/Campaign: CampaignRequest -> CampaignResponse
v3electionpb.Election/Proclaim: ProclaimRequest -> ProclaimResponse
v3electionpb.Election/Leader: LeaderRequest -> LeaderResponse
v3electionpb.Election/Resign: ResignRequest -> ResignResponse
v3electionpb.Election/Observe: LeaderRequest -> stream LeaderResponse
";

/// `H` is `1 header ResponseHeader`; `?` marks the fields of a oneof.
const MESSAGES: &str = "
mvccpb.KeyValue: 1 key bytes, 2 create_revision int64, 3 mod_revision int64, 4 version int64, 5 value bytes, 6 lease int64
mvccpb.Event: 1 type EventType, 2 kv KeyValue, 3 prev_kv KeyValue

authpb.UserAddOptions: 1 no_password bool
authpb.User: 1 name bytes, 2 password bytes, 3 roles rep string, 4 options UserAddOptions
authpb.Permission: 1 permType Type, 2 key bytes, 3 range_end bytes
authpb.Role: 1 name bytes, 2 keyPermission rep Permission

etcdserverpb.ResponseHeader: 1 cluster_id uint64, 2 member_id uint64, 3 revision int64, 4 raft_term uint64
etcdserverpb.RangeRequest: 1 key bytes, 2 range_end bytes, 3 limit int64, 4 revision int64, 5 sort_order SortOrder, \
6 sort_target SortTarget, 7 serializable bool, 8 keys_only bool, 9 count_only bool, 10 min_mod_revision int64, \
11 max_mod_revision int64, 12 min_create_revision int64, 13 max_create_revision int64
etcdserverpb.RangeResponse: H, 2 kvs rep KeyValue, 3 more bool, 4 count int64
etcdserverpb.RangeStreamResponse: 1 range_response RangeResponse
etcdserverpb.PutRequest: 1 key bytes, 2 value bytes, 3 lease int64, 4 prev_kv bool, 5 ignore_value bool, \
6 ignore_lease bool
etcdserverpb.PutResponse: H, 2 prev_kv KeyValue
etcdserverpb.DeleteRangeRequest: 1 key bytes, 2 range_end bytes, 3 prev_kv bool
etcdserverpb.DeleteRangeResponse: H, 2 deleted int64, 3 prev_kvs rep KeyValue
etcdserverpb.RequestOp: 1 request_range ? RangeRequest, 2 request_put ? PutRequest, \
3 request_delete_range ? DeleteRangeRequest, 4 request_txn ? TxnRequest
etcdserverpb.ResponseOp: 1 response_range ? RangeResponse, 2 response_put ? PutResponse, \
3 response_delete_range ? DeleteRangeResponse, 4 response_txn ? TxnResponse
etcdserverpb.Compare: 1 result CompareResult, 2 target CompareTarget, 3 key bytes, 4 version ? int64, \
5 create_revision ? int64, 6 mod_revision ? int64, 7 value ? bytes, 8 lease ? int64, 64 range_end bytes
etcdserverpb.TxnRequest: 1 compare rep Compare, 2 success rep RequestOp, 3 failure rep RequestOp
etcdserverpb.TxnResponse: H, 2 succeeded bool, 3 responses rep ResponseOp
etcdserverpb.CompactionRequest: 1 revision int64, 2 physical bool
etcdserverpb.CompactionResponse: H

etcdserverpb.WatchRequest: 1 create_request ? WatchCreateRequest, 2 cancel_request ? WatchCancelRequest, \
3 progress_request ? WatchProgressRequest
etcdserverpb.WatchCreateRequest: 1 key bytes, 2 range_end bytes, 3 start_revision int64, 4 progress_notify bool, \
5 filters rep FilterType, 6 prev_kv bool, 7 watch_id int64, 8 fragment bool
etcdserverpb.WatchCancelRequest: 1 watch_id int64
etcdserverpb.WatchProgressRequest:
etcdserverpb.WatchResponse: H, 2 watch_id int64, 3 created bool, 4 canceled bool, 5 compact_revision int64, \
6 cancel_reason string, 7 fragment bool, 11 events rep Event

etcdserverpb.LeaseGrantRequest: 1 TTL int64, 2 ID int64
etcdserverpb.LeaseGrantResponse: H, 2 ID int64, 3 TTL int64, 4 error string
etcdserverpb.LeaseRevokeRequest: 1 ID int64
etcdserverpb.LeaseRevokeResponse: H
etcdserverpb.LeaseKeepAliveRequest: 1 ID int64
etcdserverpb.LeaseKeepAliveResponse: H, 2 ID int64, 3 TTL int64
etcdserverpb.LeaseTimeToLiveRequest: 1 ID int64, 2 keys bool
etcdserverpb.LeaseTimeToLiveResponse: H, 2 ID int64, 3 TTL int64, 4 grantedTTL int64, 5 keys rep bytes
etcdserverpb.LeaseLeasesRequest:
etcdserverpb.LeaseLeasesResponse: H, 2 leases rep LeaseStatus
etcdserverpb.LeaseStatus: 1 ID int64
etcdserverpb.LeaseCheckpoint: 1 ID int64, 2 remaining_TTL int64

etcdserverpb.Member: 1 ID uint64, 2 name string, 3 peerURLs rep string, 4 clientURLs rep string, 5 isLearner bool
etcdserverpb.MemberAddRequest: 1 peerURLs rep string, 2 isLearner bool
etcdserverpb.MemberAddResponse: H, 2 member Member, 3 members rep Member
etcdserverpb.MemberRemoveRequest: 1 ID uint64
etcdserverpb.MemberRemoveResponse: H, 2 members rep Member
etcdserverpb.MemberUpdateRequest: 1 ID uint64, 2 peerURLs rep string
etcdserverpb.MemberUpdateResponse: H, 2 members rep Member
etcdserverpb.MemberListRequest: 1 linearizable bool
etcdserverpb.MemberListResponse: H, 2 members rep Member
etcdserverpb.MemberPromoteRequest: 1 ID uint64
etcdserverpb.MemberPromoteResponse: H, 2 members rep Member

etcdserverpb.StatusRequest:
etcdserverpb.StatusResponse: H, 2 version string, 3 dbSize int64, 4 leader uint64, 5 raftIndex uint64, \
6 raftTerm uint64, 7 raftAppliedIndex uint64, 8 errors rep string, 9 dbSizeInUse int64, 10 isLearner bool, \
11 storageVersion string, 12 dbSizeQuota int64, 13 downgradeInfo DowngradeInfo
etcdserverpb.DowngradeInfo: 1 enabled bool, 2 targetVersion string
etcdserverpb.AlarmRequest: 1 action AlarmAction, 2 memberID uint64, 3 alarm AlarmType
etcdserverpb.AlarmResponse: H, 2 alarms rep AlarmMember
etcdserverpb.AlarmMember: 1 memberID uint64, 2 alarm AlarmType
etcdserverpb.HashRequest:
etcdserverpb.HashResponse: H, 2 hash uint32
etcdserverpb.HashKVRequest: 1 revision int64
etcdserverpb.HashKVResponse: H, 2 hash uint32, 3 compact_revision int64, 4 hash_revision int64
etcdserverpb.SnapshotRequest:
etcdserverpb.SnapshotResponse: H, 2 remaining_bytes uint64, 3 blob bytes, 4 version string
etcdserverpb.MoveLeaderRequest: 1 targetID uint64
etcdserverpb.MoveLeaderResponse: H
etcdserverpb.DefragmentRequest:
etcdserverpb.DefragmentResponse: H
etcdserverpb.DowngradeRequest: 1 action DowngradeAction, 2 version string
etcdserverpb.DowngradeResponse: H, 2 version string

etcdserverpb.AuthEnableRequest:
etcdserverpb.AuthEnableResponse: H
etcdserverpb.AuthDisableRequest:
etcdserverpb.AuthDisableResponse: H
etcdserverpb.AuthStatusRequest:
etcdserverpb.AuthStatusResponse: H, 2 enabled bool, 3 authRevision uint64
etcdserverpb.AuthenticateRequest: 1 name string, 2 password string
etcdserverpb.AuthenticateResponse: H, 2 token string
etcdserverpb.AuthUserAddRequest: 1 name string, 2 password string, 3 options UserAddOptions, 4 hashedPassword string
etcdserverpb.AuthUserAddResponse: H
etcdserverpb.AuthUserGetRequest: 1 name string
etcdserverpb.AuthUserGetResponse: H, 2 roles rep string
etcdserverpb.AuthUserListRequest:
etcdserverpb.AuthUserListResponse: H, 2 users rep string
etcdserverpb.AuthUserDeleteRequest: 1 name string
etcdserverpb.AuthUserDeleteResponse: H
etcdserverpb.AuthUserChangePasswordRequest: 1 name string, 2 password string, 3 hashedPassword string
etcdserverpb.AuthUserChangePasswordResponse: H
etcdserverpb.AuthUserGrantRoleRequest: 1 user string, 2 role string
etcdserverpb.AuthUserGrantRoleResponse: H
etcdserverpb.AuthUserRevokeRoleRequest: 1 name string, 2 role string
etcdserverpb.AuthUserRevokeRoleResponse: H
etcdserverpb.AuthRoleAddRequest: 1 name string
etcdserverpb.AuthRoleAddResponse: H
etcdserverpb.AuthRoleGetRequest: 1 role string
etcdserverpb.AuthRoleGetResponse: H, 2 perm rep Permission
etcdserverpb.AuthRoleListRequest:
etcdserverpb.AuthRoleListResponse: H, 2 roles rep string
etcdserverpb.AuthRoleDeleteRequest: 1 role string
etcdserverpb.AuthRoleDeleteResponse: H
etcdserverpb.AuthRoleGrantPermissionRequest: 1 name string, 2 perm Permission
etcdserverpb.AuthRoleGrantPermissionResponse: H
etcdserverpb.AuthRoleRevokePermissionRequest: 1 role string, 2 key bytes, 3 range_end bytes
etcdserverpb.AuthRoleRevokePermissionResponse: H

v3lockpb.LockRequest: 1 name bytes, 2 lease int64
v3lockpb.LockResponse: H, 2 key bytes
v3lockpb.UnlockRequest: 1 key bytes
v3lockpb.UnlockResponse: H

v3electionpb.CampaignRequest: 1 name bytes, 2 lease int64, 3 value bytes
v3electionpb.CampaignResponse: H, 2 leader LeaderKey
v3electionpb.LeaderKey: 1 name bytes, 2 key bytes, 3 rev int64, 4 lease int64
v3electionpb.LeaderRequest: 1 name bytes
v3electionpb.LeaderResponse: H, 2 kv KeyValue
v3electionpb.ResignRequest: 1 leader LeaderKey
v3electionpb.ResignResponse: H
v3electionpb.ProclaimRequest: 1 leader LeaderKey, 2 value bytes
v3electionpb.ProclaimResponse: H
";

const ENUMS: &str = "
mvccpb.Event.EventType: PUT 0, DELETE 1
authpb.Permission.Type: READ 0, WRITE 1, READWRITE 2
etcdserverpb.RangeRequest.SortOrder: NONE 0, ASCEND 1, DESCEND 2
etcdserverpb.RangeRequest.SortTarget: KEY 0, VERSION 1, CREATE 2, MOD 3, VALUE 4
etcdserverpb.Compare.CompareResult: EQUAL 0, GREATER 1, LESS 2, NOT_EQUAL 3
etcdserverpb.Compare.CompareTarget: VERSION 0, CREATE 1, MOD 2, VALUE 3, LEASE 4
etcdserverpb.WatchCreateRequest.FilterType: NOPUT 0, NODELETE 1
etcdserverpb.AlarmRequest.AlarmAction: GET 0, ACTIVATE 1, DEACTIVATE 2
etcdserverpb.AlarmType: NONE 0, NOSPACE 1, CORRUPT 2
etcdserverpb.DowngradeRequest.DowngradeAction: VALIDATE 0, ENABLE 1, CANCEL 2
";

/// What is compiled of etcd's packages.
fn files() -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(holdfast_proto::DESCRIPTORS).unwrap().file;
    let files: Vec<_> = all.into_iter().filter(|file| PACKAGES.contains(&file.package())).collect();
    assert_eq!(files.len(), PACKAGES.len());
    files
}

/// A type without the packages and messages around it.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

fn field(field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()),
        Type::Bytes => "bytes",
        Type::String => "string",
        Type::Bool => "bool",
        Type::Int64 => "int64",
        Type::Uint64 => "uint64",
        Type::Uint32 => "uint32",
        other => panic!("{}: etcd has no {other:?}", field.name()),
    };
    let repeated = field.label == Some(prost_types::field_descriptor_proto::Label::Repeated.into());
    let mark = match (repeated, field.oneof_index) {
        (true, _) => "rep ",
        (false, Some(_)) => "? ",
        (false, None) => "",
    };
    match format!("{} {} {mark}{kind}", field.number(), field.name()).as_str() {
        "1 header ResponseHeader" => "H".to_owned(),
        other => other.to_owned(),
    }
}

fn line(name: &str, parts: impl Iterator<Item = String>) -> String {
    format!("{name}: {}", parts.collect::<Vec<_>>().join(", ")).trim_end().to_owned()
}

fn message(package: &str, message: &DescriptorProto) -> String {
    line(&format!("{package}.{}", message.name()), message.field.iter().map(field))
}

fn enumeration(within: &str, values: &EnumDescriptorProto) -> String {
    let values_of = values.value.iter().map(|value| format!("{} {}", value.name(), value.number()));
    line(&format!("{within}.{}", values.name()), values_of)
}

/// Both, line by line, so that a difference is shown alone.
fn same(table: &str, compiled: impl Iterator<Item = String>) {
    let compiled: BTreeSet<String> = compiled.collect();
    let table: BTreeSet<String> = table.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let missing: Vec<_> = table.difference(&compiled).collect();
    let surplus: Vec<_> = compiled.difference(&table).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
}

/// §1.2.
#[test]
fn services_have_etcds_methods() {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    let mut compiled = Vec::new();
    for file in files() {
        for service in &file.service {
            compiled.extend(service.method.iter().map(|method| {
                let (input, output) = (short(method.input_type()), short(method.output_type()));
                let (asks, answers) = (stream(method.client_streaming()), stream(method.server_streaming()));
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                format!("{name}: {asks}{input} -> {answers}{output}")
            }));
        }
    }
    same(SERVICES, compiled.into_iter());
}

/// §1.3.
#[test]
fn messages_have_etcds_names_numbers_and_types() {
    let messages = files().into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.message_type.into_iter().map(move |compiled| message(&package, &compiled))
    });
    same(MESSAGES, messages);
}

/// §1.3.
#[test]
fn enumerations_have_etcds_words_and_numbers() {
    let mut compiled = Vec::new();
    for file in files() {
        compiled.extend(file.enum_type.iter().map(|values| enumeration(file.package(), values)));
        for message in &file.message_type {
            let within = format!("{}.{}", file.package(), message.name());
            compiled.extend(message.enum_type.iter().map(|values| enumeration(&within, values)));
        }
    }
    same(ENUMS, compiled.into_iter());
}
