// Lets Node reach the names of a test fediverse: NAMES="tide.test=127.0.0.1:3000,.sim.test=127.0.0.1:3901".
// An entry that starts with a dot stands for every name with that ending. The URLs carry no
// port, so address and port both have to change, after the Host header has been settled: where
// a socket connects. Loaded by `node --import ./names.mjs`.
import net from "node:net";

const table = (process.env.NAMES ?? "").split(",").filter(Boolean).map((entry) => {
  const [name, address] = entry.split("=");
  const [host, port] = address.split(":");
  return { name: name.toLowerCase(), host, port: Number(port) };
});

function find(name) {
  const wanted = String(name).toLowerCase();
  return table.find((row) => row.name === wanted || (row.name.startsWith(".") && wanted.endsWith(row.name)));
}

// Every TCP connection of this process, fetch's included, is opened by Socket.connect.
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...parts) {
  const options = Array.isArray(parts[0]) ? parts[0][0] : parts[0];
  const row = typeof options === "object" && options !== null ? find(options.host ?? options.hostname) : undefined;
  if (row !== undefined) {
    options.host = row.host;
    options.hostname = row.host;
    options.port = row.port;
    delete options.lookup;
  }
  return connect.apply(this, parts);
};
