# Prints how many of each package's statements a coverage profile has reached, in percent. A block appears once for each
# test binary.
FNR == 1 { next }
{
	statements[$1] = $(NF - 1)
	if ($NF > 0) reached[$1] = 1
}
END {
	for (block in statements) {
		package = block
		sub(/\/[^\/]*$/, "", package)
		all[package] += statements[block]
		if (block in reached) hit[package] += statements[block]
	}
	for (package in all) printf "%5.1f %% %s\n", 100 * hit[package] / all[package], package | "sort -k 3"
}
