import * as z from 'zod'

/** Any JSON value. It has a name in the descriptions of the API, because it contains itself. */
export const Json = z.json().register(z.globalRegistry, { id: 'Json' })
