/** Parts of PromQL expressions; IT stands for the chosen replicas. */
export const IT = 'job=~"$job", instance=~"$instance"';
/** Routes that predict, of all protocols. */
export const PREDICTS = 'route=~"/predict|/v2/models/.*infer|/v1/models/.*:(predict|classify|regress)"';

export const rate = (name, labels = '') => `rate(${name}{${IT}${labels && `, ${labels}`}}[$__rate_interval])`;
export const sum = (by, expression) => `sum${by ? ` by (${by})` : ''} (${expression})`;
export const ratio = (a, b) => `${a} / (${b} > 0)`;
/** Quantile of a histogram, over all replicas. */
export const quantile = (q, name, by = '', labels = '') =>
  `histogram_quantile(${q}, ${sum(by ? `le, ${by}` : 'le', rate(`${name}_bucket`, labels))})`;
export const mean = (name, by = '') => ratio(sum(by, rate(`${name}_sum`)), sum(by, rate(`${name}_count`)));
