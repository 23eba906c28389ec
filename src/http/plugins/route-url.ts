/** Routes' URLs as Fastify writes them: `:name`, `:name(expression)`, `::` for a colon, `*` for the rest. */

const PARTS = /(::|:\w+(?:\([^)]*\))?|\*$)/;

/** Matches the paths that the route would take. */
export function urlPattern(url: string): RegExp {
  const parts = url.split(PARTS).map((part, i) => {
    if (i % 2 === 0) return part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
    if (part === '::') return ':';
    if (part === '*') return '.*';
    return /\((.*)\)$/.exec(part)?.[1] ?? '[^/]+';
  });
  return new RegExp(`^${parts.join('')}$`);
}

const names = new Map<string, string>();

/** The URL as people read it; there are as many as routes, so they are kept. */
export function urlName(url: string): string {
  let name = names.get(url);
  if (name === undefined) {
    name = url.replace(/\([^)]*\)/g, '').replaceAll('::', ':');
    names.set(url, name);
  }
  return name;
}
