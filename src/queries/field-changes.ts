/** A field of a run's details that changed. `field` is its path, such as `progress.iteration`. */
export type FieldChange = { readonly field: string; readonly old: unknown; readonly new: unknown }

type Fields = { readonly [name: string]: unknown }

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null

/** What differs between two objects of the same shape, in the order of their fields. */
export function fieldChanges(before: Fields, after: Fields, path = ''): FieldChange[] {
  return Object.keys(after).flatMap((name) => {
    const [old, now] = [before[name], after[name]]
    const field = `${path}${name}`
    if (isFields(old) && isFields(now)) return fieldChanges(old, now, `${field}.`)
    return old === now ? [] : [{ field, old, new: now }]
  })
}
