//! The suite: the assembled server, as its users meet it.
//!
//! Every test starts the real `holdfast` in a folder of its own, on ports of its own, and speaks to it with what users
//! have: etcdctl, psql, grpcurl, HTTP, gRPC. Nothing is mocked, nothing sleeps; tests wait for conditions. Public
//! clients that are not installed are skipped, unless `HOLDFAST_REQUIRE_TOOLS=1` demands them.
//!
//! | module | what it proves |
//! |---|---|
//! | [`command_line`] | a start that cannot work ends with the right code and says everything that is wrong |
//! | [`doors`] | nonsense on any port is answered or cut, and the server goes on |
//! | [`refusals`] | who may not is told so, in the words of the protocol |
//! | [`attacks`] | what attackers try is refused, and in the history: a table |
//! | [`requests`] | requests that cannot be answered, and what they are told |
//! | [`grpcurl`] | every service can be found and called without our sources; README's calls work |
//! | [`clients`] | unchanged public clients work on every door |
//! | [`directory`] | groups and rights on keys count for etcd's clients at once |
//! | [`drop_in`] | `holdfast chainfire` in the place of an etcd |
//! | [`faults`] | a full or failing disk, damaged files and a wrong clock: nothing acknowledged is lost, and it is said |
//! | [`hung`] | a leader whose disk hangs lets another one lead, says so, and comes back |
//! | [`rolling`] | members are restarted one after the other, and watches of public clients go on |
//! | [`rotation`] | keys, authorities and access keys are rotated while servers are killed, and nobody is refused before his time |
//! | [`secrets`] | no secret is left in anything that servers write or say |
//! | [`foreign`] | stock libraries of another language verify tokens and replace credentials |
//! | [`restart`] | a stop is clean, a kill loses nothing that was acknowledged |
//! | [`three`] | three servers go on without one, whichever |
//! | [`reboots`] | machines reboot one after the other, whatever happens to them and to the servers |
//! | [`strangers`] | a server that does not belong is kept out, and says why |
//! | [`nodes`] | every step of a version on a node is explained, and in the history |
//! | [`history`] | what happened is in the history, once |
//! | [`break_glass`] | operators' keys open a server that has no quorum, and it is written down |
//! | [`operator`] | an operator begins with an empty folder, sees what a publish would do, and watches the fleet |
//! | [`backups`] | the runbook of backup and restore brings a plane back |
//!
//! The others are what these share: [`lab`] is a server and its admin, [`http`] a client that may misbehave,
//! [`members`] three drop-in servers, [`plane`] servers as operators run them, [`node`] a node with a certificate and its
//! connections, [`runbook`] executes what runbooks say,
//! [`programs`] runs others' programs, [`tokens`] forges, [`tree`] signs.

mod attacks;
mod backups;
mod break_glass;
mod clients;
mod command_line;
mod directory;
mod doors;
mod drop_in;
mod faults;
mod foreign;
mod grpcurl;
mod history;
mod http;
mod hung;
mod lab;
mod members;
mod node;
mod nodes;
mod operator;
mod plane;
mod policies;
mod programs;
mod reboots;
mod refusals;
mod requests;
mod restart;
mod revocation;
mod rolling;
mod rotation;
mod runbook;
mod secrets;
mod strangers;
mod three;
mod tokens;
mod tree;
