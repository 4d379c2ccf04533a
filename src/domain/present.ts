/** The members that are not null or undefined: records and answers leave out what there is nothing to say about. */
export function present<T extends object>(members: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const all: { [K in keyof T]?: NonNullable<T[K]> } = {}
  for (const name in members) {
    const member = members[name]
    if (member != null) all[name] = member
  }
  return all
}
