// Package cp copies files over a connection, with a checksum.
//
// A connection carries one file. All numbers are big-endian.
//
//	client -> server   request: "vsockcp1", op u8 (1 put, 2 get), mode u16,
//	                   size u64 (put; else 0), length u16 and name
//	server -> client   reply: status u8 (0 go on), mode u16, size u64 (get; else 0),
//	                   length u16 and text (of an error)
//	sender -> receiver size bytes, and the SHA-256 of them (32 bytes)
//	receiver -> sender reply: the file is there, complete and checked
//
// After a reply that is an error the connection is over. A file appears under its
// name when it is complete: until then it has another one. Names are slash-separated
// paths below the server's folder, and nothing outside of that can be reached,
// neither by .. nor by a symbolic link (os.Root).
package cp
