"""What hookchain is measured by: `make bench`. Figures are ratios in one run, since machines differ and drift."""
