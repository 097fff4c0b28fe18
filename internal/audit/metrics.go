// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const subsystem = "xfrguard"

var log = clog.NewWithPlugin(subsystem)

var (
	AuditEvents = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "audit_events_total",
		Help: "Counter of audit events written, by sink and action.",
	}, []string{"sink", "action"})

	AuditFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "audit_failures_total",
		Help: "Counter of audit events that a sink could not take, by sink and class.",
	}, []string{"sink", "class"})

	AuditRefused = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "audit_refused_total",
		Help: "Counter of allowed transfers that were refused because they could not be recorded.",
	})

	AuditSinkUp = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "audit_sink_up",
		Help: "Gauge of an audit sink's state: 1 up, 0 down.",
	}, []string{"sink"})

	ClockSteps = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "clock_steps_total",
		Help: "Counter of steps of the machine's clock, by direction; a suspended machine that wakes up is one forward.",
	}, []string{"direction"})
)
