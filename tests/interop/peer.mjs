// The reference Yjs, asked one JSON line at a time: apply these updates, say what you hold.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'

const unhex = (text) => Uint8Array.from(Buffer.from(text, 'hex'))
const hex = (bytes) => Buffer.from(bytes).toString('hex')

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  const updates = asked.updates.map(unhex)
  const doc = new Y.Doc()
  if (asked.merge) Y.applyUpdate(doc, Y.mergeUpdates(updates))
  else updates.forEach((update) => Y.applyUpdate(doc, update))
  const feeds = {}
  for (const root of asked.roots) feeds[root] = doc.getArray(root).toArray().map(hex)
  const since = asked.since === null ? undefined : unhex(asked.since)
  console.log(JSON.stringify({
    feeds,
    pending: doc.store.pendingStructs !== null,
    vector: hex(Y.encodeStateVector(doc)),
    update: hex(Y.encodeStateAsUpdate(doc, since))
  }))
}
