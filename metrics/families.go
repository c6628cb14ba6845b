package metrics

// The families, in the order of a page. Names and labels never change their meaning.
var (
	BuildInfo = Family{"telltale_build_info", Gauge, []string{"version", "edition"}, "Always 1: the version of the program, and the edition of the catalogue in force."}
	StartTime = Family{"telltale_start_time_seconds", Gauge, nil, "When the server, or the center, started, in seconds since 1970."}
	Refused   = Family{"telltale_settings_refused", Gauge, nil, "1 while the settings on disk have mistakes and are not in force."}
	Temporary = Family{"telltale_temporary", Gauge, []string{"kind"}, "Pauses and times of observing that are in force."}

	Queries       = Family{"telltale_queries_total", Counter, []string{"transport", "type", "verdict"}, "Lookups by transport, type and verdict."}
	Responses     = Family{"telltale_responses_total", Counter, []string{"source", "rcode"}, "Lookups by where the answer came from (policy: lists, local and special names) and its rcode; none: no reply was sent."}
	ResponseTime  = Family{"telltale_response_duration_seconds", Histogram, []string{"source"}, "How long lookups took until they were answered, by where the answer came from."}
	VendorQueries = Family{"telltale_vendor_queries_total", Counter, []string{"vendor", "verdict"}, "Lookups of names that lists attribute to a vendor. At most 1000 vendors; the rest is other."}
	DeviceQueries = Family{"telltale_device_queries_total", Counter, []string{"device", "verdict"}, "Lookups by devices with a name of the settings, where metrics.devices is true. At most 200 devices; the rest is other."}

	Received       = Family{"telltale_messages_received_total", Counter, nil, "Packets and messages that came, lookups or not."}
	Rejected       = Family{"telltale_messages_rejected_total", Counter, []string{"reason"}, "Messages that are no lookup, and lookups that were not looked at."}
	ReaderPackets  = Family{"telltale_reader_packets_total", Counter, []string{"reader"}, "Packets that a reader of a UDP socket took."}
	ReaderBatches  = Family{"telltale_reader_batches_total", Counter, []string{"reader"}, "Batches in which a reader took them."}
	Waiting        = Family{"telltale_waiting_queries", Gauge, nil, "Lookups that wait for an upstream."}
	WaitingLimit   = Family{"telltale_waiting_queries_limit", Gauge, nil, "How many may wait; more are shed."}
	Truncated      = Family{"telltale_replies_truncated_total", Counter, nil, "Replies that had no room in a packet, so that the client asks again by TCP."}
	Unsent         = Family{"telltale_replies_unsent_total", Counter, nil, "Replies that could not be sent."}
	Prefetches     = Family{"telltale_prefetches_total", Counter, nil, "Names asked for again before their time was over; no lookups."}
	InternalErrors = Family{"telltale_internal_errors_total", Counter, nil, "Lookups that met an internal error."}
	OptionsIgnored = Family{"telltale_edns_options_ignored_total", Counter, nil, "Lookups whose sender said by EDNS whose they are, and is none of identity.forwarders."}
	Connections    = Family{"telltale_connections", Gauge, nil, "Connections of TCP, TLS, HTTPS and QUIC."}
	ConnectionEnds = Family{"telltale_connections_ended_total", Counter, []string{"reason"}, "Connections that the server ended or did not take."}
	Handshakes     = Family{"telltale_tls_handshakes_total", Counter, []string{"result"}, "Handshakes of TLS."}
	CertificateEnd = Family{"telltale_certificate_not_after_seconds", Gauge, []string{"certificate"}, "When a certificate of the encrypted transports ends, in seconds since 1970. They are numbered as in the settings."}

	CacheEntries = Family{"telltale_cache_entries", Gauge, nil, "Answers in the cache."}
	CacheBytes   = Family{"telltale_cache_bytes", Gauge, nil, "What they take."}
	CacheLimit   = Family{"telltale_cache_limit_bytes", Gauge, nil, "What they may take."}
	CacheEvicted = Family{"telltale_cache_evicted_total", Counter, nil, "Answers that had to go before their time was over, to make room."}

	UpstreamUp       = Family{"telltale_upstream_up", Gauge, []string{"upstream"}, "1 while the upstream answers, 0 while it is failing, down or looped."}
	UpstreamQueries  = Family{"telltale_upstream_queries_total", Counter, []string{"upstream"}, "Queries that the upstream was asked for clients."}
	UpstreamFailures = Family{"telltale_upstream_failures_total", Counter, []string{"upstream", "kind"}, "Those that it gave no answer to."}
	UpstreamHedged   = Family{"telltale_upstream_hedged_total", Counter, []string{"upstream"}, "Those that went to another upstream, too, since this one took longer than usual."}
	UpstreamStrays   = Family{"telltale_upstream_strays_total", Counter, []string{"upstream"}, "Packets from its address that fitted no query."}
	UpstreamTime     = Family{"telltale_upstream_duration_seconds", Summary, []string{"upstream"}, "How long its answers took. Quantiles are of the last 512 to 1024."}
	UpstreamInvalid  = Family{"telltale_upstream_replies_invalid_total", Counter, nil, "Replies of upstreams that could not be used."}

	ListRules    = Family{"telltale_list_rules", Gauge, []string{"list"}, "Rules of the list that are in force. At most 1000 lists are told."}
	ListBad      = Family{"telltale_list_bad_lines", Gauge, []string{"list"}, "Lines of the list that are no rule."}
	ListModified = Family{"telltale_list_modified_seconds", Gauge, []string{"list"}, "When what is in force of the list was changed last, in seconds since 1970."}
	ListChecked  = Family{"telltale_list_checked_seconds", Gauge, []string{"list"}, "When the server of a subscribed list said last that the copy is current, in seconds since 1970; 0 for never."}
	ListHeld     = Family{"telltale_list_held", Gauge, []string{"list"}, "1 while what there is of the list now is held back until a person accepts it."}
	ListFailed   = Family{"telltale_list_failed", Gauge, []string{"list"}, "1 while the list cannot be read or was never fetched."}

	LogLookups    = Family{"telltale_log_lookups_total", Counter, nil, "Lookups handed to the query log, those of devices that opted out included."}
	LogStored     = Family{"telltale_log_stored_total", Counter, nil, "Lookups in rows that are in the store, those of an earlier process included."}
	LogLost       = Family{"telltale_log_lost_total", Counter, nil, "Lookups that could not be kept. The ledger says when."}
	LogUnnamed    = Family{"telltale_log_unnamed_total", Counter, nil, "Lookups counted without their name, for want of memory."}
	LogOptedOut   = Family{"telltale_log_opted_out_total", Counter, nil, "Lookups of devices that opted out, of which nothing is kept."}
	LogRows       = Family{"telltale_log_rows_total", Counter, nil, "Rows put into the store."}
	LogOpenRows   = Family{"telltale_log_open_rows", Gauge, nil, "Rows that are not in the store yet."}
	LogJournal    = Family{"telltale_log_journal_bytes", Gauge, nil, "What waits in the journal for the store."}
	LogBytes      = Family{"telltale_log_store_bytes", Gauge, nil, "What the store takes."}
	LogLimit      = Family{"telltale_log_store_limit_bytes", Gauge, nil, "What it may take (log.size)."}
	LogLastCommit = Family{"telltale_log_last_commit_seconds", Gauge, nil, "When rows were put into the store last, in seconds since 1970; 0 for not yet."}
	LogFailing    = Family{"telltale_log_failing", Gauge, nil, "1 while the journal or the store cannot be written."}
	LogRecorded   = Family{"telltale_log_recorded_ratio", Gauge, nil, "Which part of the last 24 hours was recorded, from 0 to 1. It is read anew after ten minutes."}
	LogGaps       = Family{"telltale_log_gaps", Gauge, []string{"effect"}, "Gaps of the last 24 hours by what they mean (docs/querylog.md). They are read anew after ten minutes."}

	DnstapSent      = Family{"telltale_dnstap_messages_total", Counter, nil, "Messages sent by dnstap."}
	DnstapDropped   = Family{"telltale_dnstap_dropped_total", Counter, nil, "Messages that were not sent: nobody took them, or not fast enough."}
	DnstapConnected = Family{"telltale_dnstap_connected", Gauge, nil, "1 while somebody takes dnstap."}

	CenterLeads         = Family{"telltale_center_leads", Gauge, nil, "1 for a center that leads, 0 for one that follows another, or that another one was promoted in place of: those say nothing more."}
	CenterNodes         = Family{"telltale_center_nodes", Gauge, []string{"state"}, "Nodes of this center by how they stand, in the words of 'telltale center nodes'."}
	CenterNodeSeen      = Family{"telltale_center_node_seen_seconds", Gauge, []string{"node"}, "When the node said last how it stands, in seconds since 1970. At most 1000 nodes are told."}
	CenterNodeBatch     = Family{"telltale_center_node_batch_seconds", Gauge, []string{"node"}, "When a batch of the node was stored last, in seconds since 1970; 0 for not since the center started."}
	CenterNodeLag       = Family{"telltale_center_node_lag_seconds", Gauge, []string{"node"}, "How old the oldest lookups are that the node has and the center has not; 0 for none."}
	CenterNodeWaiting   = Family{"telltale_center_node_waiting_windows", Gauge, []string{"node"}, "Windows of rows that the node has and the center has not."}
	CenterNodeClock     = Family{"telltale_center_node_clock_ahead_seconds", Gauge, []string{"node"}, "How far the node's clock is ahead of the center's."}
	CenterNodeChanged   = Family{"telltale_center_node_changed", Gauge, []string{"node"}, "1 while the node's sealed log is another one than it was, until somebody accepts that."}
	CenterBatches       = Family{"telltale_center_batches_total", Counter, nil, "Batches of nodes that are stored."}
	CenterBytes         = Family{"telltale_center_batch_bytes_total", Counter, nil, "What those had, packed."}
	CenterRows          = Family{"telltale_center_rows_total", Counter, nil, "Rows in them that were new."}
	CenterBatchRefused  = Family{"telltale_center_batches_refused_total", Counter, []string{"reason"}, "Batches that were not stored. Nodes keep what they have."}
	CenterInsertTime    = Family{"telltale_center_insert_duration_seconds", Histogram, nil, "How long the store took to take batches, several at a time."}
	CenterStoreErrors   = Family{"telltale_center_store_errors_total", Counter, nil, "Inserts into the store that failed."}
	CenterStoreFailing  = Family{"telltale_center_store_failing", Gauge, nil, "1 while the store takes nothing."}
	CenterWaiting       = Family{"telltale_center_waiting_batches", Gauge, nil, "Batches that wait to be stored."}
	CenterRefused       = Family{"telltale_center_requests_refused_total", Counter, nil, "Requests whose certificate or invitation was refused."}
	CenterPolicyRefused = Family{"telltale_center_policy_refused", Gauge, nil, "1 while what the center's files and settings hold has mistakes and is not published."}

	Goroutines    = Family{"go_goroutines", Gauge, nil, "Goroutines of the process."}
	CPUTime       = Family{"process_cpu_seconds_total", Counter, nil, "Time of processors that the process took."}
	ResidentBytes = Family{"process_resident_memory_bytes", Gauge, nil, "Memory of the process, files in memory included."}
	OpenFiles     = Family{"process_open_fds", Gauge, nil, "Files that the process has open."}
	FilesLimit    = Family{"process_max_fds", Gauge, nil, "Files that it may have open."}
)

// Families returns all families, in the order of a page.
func Families() []*Family {
	return []*Family{
		&BuildInfo, &StartTime, &Refused, &Temporary,
		&Queries, &Responses, &ResponseTime, &VendorQueries, &DeviceQueries,
		&Received, &Rejected, &ReaderPackets, &ReaderBatches, &Waiting, &WaitingLimit, &Truncated, &Unsent, &Prefetches, &InternalErrors, &OptionsIgnored, &Connections, &ConnectionEnds, &Handshakes, &CertificateEnd,
		&CacheEntries, &CacheBytes, &CacheLimit, &CacheEvicted,
		&UpstreamUp, &UpstreamQueries, &UpstreamFailures, &UpstreamHedged, &UpstreamStrays, &UpstreamTime, &UpstreamInvalid,
		&ListRules, &ListBad, &ListModified, &ListChecked, &ListHeld, &ListFailed,
		&LogLookups, &LogStored, &LogLost, &LogUnnamed, &LogOptedOut, &LogRows, &LogOpenRows, &LogJournal, &LogBytes, &LogLimit, &LogLastCommit, &LogFailing, &LogRecorded, &LogGaps,
		&DnstapSent, &DnstapDropped, &DnstapConnected,
		&CenterLeads, &CenterNodes, &CenterNodeSeen, &CenterNodeBatch, &CenterNodeLag, &CenterNodeWaiting, &CenterNodeClock, &CenterNodeChanged,
		&CenterBatches, &CenterBytes, &CenterRows, &CenterBatchRefused, &CenterInsertTime, &CenterStoreErrors, &CenterStoreFailing, &CenterWaiting, &CenterRefused, &CenterPolicyRefused,
		&Goroutines, &CPUTime, &ResidentBytes, &OpenFiles, &FilesLimit,
	}
}
