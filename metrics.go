// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/audit"

	"github.com/coredns/coredns/plugin"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const subsystem = "xfrguard"

// The metrics. Labels are the listener (server), the configured zone or "-"
// (zone, never a name the client made up), the view, and closed lists; never the address of a client.
var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "requests_total",
		Help: "Counter of transfer requests by type, decision and reason.",
	}, []string{"server", "zone", "view", "type", "decision", "reason"})

	transfersTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "transfers_total",
		Help: "Counter of allowed transfers by what was served and how they ended.",
	}, []string{"server", "zone", "view", "served", "result"})

	transferBytes = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "transfer_bytes_total",
		Help: "Counter of bytes handed to the connections of transfers, length prefixes included.",
	}, []string{"server", "zone", "view"})

	transferRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "transfer_records_total",
		Help: "Counter of resource records handed to the connections of transfers.",
	}, []string{"server", "zone", "view"})

	transferDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "transfer_duration_seconds",
		Help:    "Histogram of how long allowed transfers took, from decision to end.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 12), // 1 ms to 70 min
	}, []string{"server", "zone", "view"})

	inFlight = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "in_flight",
		Help: "Gauge of transfers under way.",
	}, []string{"server", "zone", "view"})

	waitingRequests = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "waiting",
		Help: "Gauge of allowed requests that wait for their turn.",
	}, []string{"server", "zone", "view"})

	waitSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "wait_seconds",
		Help:    "Histogram of how long allowed requests waited for their turn, those that did not included.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
	}, []string{"server", "zone", "view"})

	notifiesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "notifies_total",
		Help: "Counter of NOTIFYs, retries not counted, by what became of them.",
	}, []string{"server", "zone", "view", "outcome"})

	notifyUp = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "notify_up",
		Help: "Gauge of whether a secondary answers NOTIFY: 1, or 0 when it has answered none for some time.",
	}, []string{"server", "view", "target"})

	notifyLastAnswer = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "notify_last_answer_timestamp_seconds",
		Help: "Gauge of the moment of a secondary's last answer to a NOTIFY, in Unix time.",
	}, []string{"server", "view", "target"})

	policyInfo = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "policy_info",
		Help: "Gauge that is 1 for each policy in force, with its digest.",
	}, []string{"server", "zone", "view", "digest"})

	findingsGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "findings",
		Help: "Gauge of what the self-check finds in a server block, by code.",
	}, []string{"server", "code"})

	reloadFailures = startAtZero(promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "reload_failed_total",
		Help: "Counter of reloads that failed, so that the policy in force stayed, by how far they came.",
	}, []string{"reason"}), audit.ReloadFailures)

	filesPending = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "files_pending",
		Help: "Gauge that is 1 while the Corefile, keys or certificates on disk are not those in force.",
	})

	signaturesEnd = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "zone_signatures_end_timestamp_seconds",
		Help: "Gauge of the moment at which the first signature of a zone ends, in Unix time.",
	}, []string{"server", "zone", "view"})

	tlsUntil = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "tls_until_timestamp_seconds",
		Help: "Gauge of the moment until which a rule lets plain TCP in, in Unix time.",
	}, []string{"server", "zone", "view", "rule"})

	ruleExpires = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "rule_expires_timestamp_seconds",
		Help: "Gauge of the moment at which a rule ends or has ended, in Unix time.",
	}, []string{"server", "zone", "view", "rule"})

	frozenGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "frozen",
		Help: "Gauge that is 1 while the operator has frozen the transfers of a zone, or of all zones (zone *).",
	}, []string{"server", "zone", "view"})

	controlUp = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "control_up",
		Help: "Gauge that is 1 while the control directories of a server block can be read.",
	}, []string{"server", "view"})
)

// startAtZero makes the series of a closed list, so that the first time something
// happens is an increase.
func startAtZero[S ~string](c *prometheus.CounterVec, all []S) *prometheus.CounterVec {
	for _, v := range all {
		c.WithLabelValues(string(v))
	}
	return c
}
