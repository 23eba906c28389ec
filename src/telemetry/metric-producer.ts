import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import { millisToHrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { MetricObjectWithValues, MetricValue, MetricValueWithName } from 'prom-client';
import { unitOf } from './metric-unit.js';

/** The metrics that `GET /metrics` shows, as prom-client gives them; gauges are read anew. */
export interface MetricSource {
  snapshot(): Promise<MetricObjectWithValues<MetricValue<string>>[]>;
}

/** Hands the metrics of `GET /metrics` to OpenTelemetry under the same names, counting from the process' start. */
export class PromMetricProducer implements MetricProducer {
  readonly #source: MetricSource;
  readonly #start = millisToHrTime(performance.timeOrigin);

  constructor(source: MetricSource) {
    this.#source = source;
  }

  async collect(): Promise<CollectionResult> {
    const span = { startTime: this.#start, endTime: millisToHrTime(Date.now()) };
    const metrics = (await this.#source.snapshot()).flatMap((metric) => toMetricData(metric, span));
    const scopeMetrics = [{ scope: { name: 'bitdial' }, metrics }];
    return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
  }
}

interface Interval {
  startTime: HrTime;
  endTime: HrTime;
}

/** One metric; of a summary, which OpenTelemetry does not produce, nothing. */
export function toMetricData(metric: MetricObjectWithValues<MetricValue<string>>, span: Interval): MetricData[] {
  const { name, help } = metric;
  const descriptor = { name, description: help, unit: unitOf(name).sign, valueType: ValueType.DOUBLE };
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  // prom-client types it as an enum, and gives the name
  const type = metric.type as unknown as string;
  if (type === 'histogram') {
    const dataPoints = histograms(metric.values as MetricValueWithName<string>[]).map((point) => ({
      ...span,
      ...point,
    }));
    return [{ ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints }];
  }
  const dataPoints = metric.values.map(({ labels, value }) => ({ ...span, attributes: labels as Attributes, value }));
  if (type === 'counter') return [{ ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }];
  if (type === 'gauge') return [{ ...common, dataPointType: DataPointType.GAUGE, dataPoints }];
  return [];
}

interface Point {
  attributes: Attributes;
  value: { buckets: { boundaries: number[]; counts: number[] }; sum: number; count: number };
}

/** Cumulative buckets, sum and count of each set of labels become one point with a count for each bucket. */
function histograms(values: MetricValueWithName<string>[]): Point[] {
  const points = new Map<string, Point>();
  for (const { metricName, labels, value } of values) {
    const { le, ...attributes } = labels as Record<string, string | number>;
    const key = JSON.stringify(attributes);
    const point = points.get(key) ?? {
      attributes,
      value: { buckets: { boundaries: [], counts: [] }, sum: 0, count: 0 },
    };
    points.set(key, point);
    if (metricName?.endsWith('_sum')) point.value.sum = value;
    else if (metricName?.endsWith('_count')) point.value.count = value;
    else {
      if (le !== '+Inf') point.value.buckets.boundaries.push(Number(le));
      point.value.buckets.counts.push(value);
    }
  }
  for (const { value } of points.values()) {
    const { counts } = value.buckets;
    value.buckets.counts = counts.map((count, i) => count - (counts[i - 1] ?? 0));
  }
  return [...points.values()];
}
